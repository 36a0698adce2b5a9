BEGIN TRANSACTION;
CREATE TABLE answers (
	id INTEGER NOT NULL, 
	request INTEGER NOT NULL, 
	answer TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT answers_answer_is_known CHECK (answer IN ('started', 'joined', 'waits', 'refused')), 
	CONSTRAINT run_answers_once UNIQUE (request, run_id, answer), 
	FOREIGN KEY(request) REFERENCES requests (id)
);
INSERT INTO "answers" VALUES(1,1,'started','goes','r1','2025-05-02 02:00:00.000000','2026-11-27 15:19:31');
INSERT INTO "answers" VALUES(2,2,'waits','cooldown','r1','2025-05-02 02:00:00.000000','2026-11-27 15:19:31');
CREATE TABLE confirmations (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	version TEXT NOT NULL, 
	day DATE NOT NULL, 
	"trigger" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT confirmations_trigger_is_known CHECK (trigger IN ('on_demand', 'schedule', 'new_data', 'performance', 'drift')), 
	CONSTRAINT confirmed_once_a_day UNIQUE (model, version, day, "trigger")
);
INSERT INTO "confirmations" VALUES(1,'fraud','1','2025-05-01','drift','amount has moved','{"severity": 0.4}','2025-05-02 02:00:00.000000','2026-11-27 15:19:31');
INSERT INTO "confirmations" VALUES(2,'fraud','1','2025-05-02','drift','amount has moved','{"severity": 0.4}','2025-05-03 02:00:00.000000','2026-11-27 15:19:31');
CREATE TABLE decisions (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	"trigger" TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	champion_version TEXT, 
	challenger_version TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	metric TEXT NOT NULL, 
	difference FLOAT, 
	lower_bound FLOAT, 
	interval_low FLOAT, 
	interval_high FLOAT, 
	minimum_detectable_effect FLOAT, 
	rows BIGINT NOT NULL, 
	training_rows BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	seconds FLOAT, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT decisions_trigger_is_known CHECK (trigger IN ('on_demand', 'schedule', 'new_data', 'performance', 'drift')), 
	CONSTRAINT decisions_outcome_is_known CHECK (outcome IN ('PROMOTE', 'KEEP', 'INCONCLUSIVE'))
);
INSERT INTO "decisions" VALUES(1,'fraud','2025-05-02 02:00:00.000000','schedule','r1',NULL,'1','PROMOTE','average_precision',0.2,0.1,0.05,0.3,0.04,1000,5000,'better','{"primary": {"challenger": 0.5}}',12.5,'2026-11-27 15:19:31');
INSERT INTO "decisions" VALUES(2,'fraud','2025-05-02 02:00:00.000000','drift','r3','1','2','KEEP','average_precision',NULL,NULL,NULL,NULL,NULL,1000,5000,'no better, 100 %','{}',NULL,'2026-11-27 15:19:31');
CREATE TABLE deliveries (
	message INTEGER NOT NULL, 
	channel TEXT NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (message, channel), 
	FOREIGN KEY(message) REFERENCES messages (id)
);
INSERT INTO "deliveries" VALUES(1,'log','2026-11-27 15:19:32');
CREATE TABLE holdout_uses (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	challenger_hash TEXT NOT NULL, 
	champion_hash TEXT NOT NULL, 
	start DATETIME NOT NULL, 
	"end" DATETIME NOT NULL, 
	alpha FLOAT NOT NULL, 
	as_of DATETIME NOT NULL, 
	run_id TEXT NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT holdout_used_once UNIQUE (model, challenger_hash, champion_hash, start, "end", alpha), 
	CONSTRAINT holdout_uses_window_is_not_empty CHECK (start < "end")
);
INSERT INTO "holdout_uses" VALUES(1,'fraud','c','b','2025-05-02 02:00:00.000000','2025-05-09 02:00:00.000000',0.05,'2025-05-02 02:00:00.000000','r1','2026-11-27 15:19:31');
CREATE TABLE incidents (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	day DATE NOT NULL, 
	fault TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT incident_of_a_day_once UNIQUE (model, day, fault, subject)
);
INSERT INTO "incidents" VALUES(1,'fraud','2025-05-01','missing values','amount','5 %','{"share": 0.05}','2025-05-02 02:00:00.000000','2026-11-27 15:19:31');
INSERT INTO "incidents" VALUES(2,'fraud','2025-05-02','missing values','amount','5 %','{"share": 0.05}','2025-05-03 02:00:00.000000','2026-11-27 15:19:31');
CREATE TABLE messages (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	event TEXT NOT NULL, 
	text TEXT NOT NULL, 
	figure TEXT NOT NULL, 
	dag_id TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	version TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT messages_event_is_known CHECK (event IN ('stopped batch', 'data incident', 'drift', 'performance', 'refused training', 'verdict', 'promotion', 'rollback', 'missed deadline')), 
	CONSTRAINT message_posted_once UNIQUE (model, "key")
);
INSERT INTO "messages" VALUES(1,'fraud','verdict 1','verdict','KEEP','0.1','train','r1','1','2025-05-02 02:00:00.000000','2026-11-27 15:19:31');
INSERT INTO "messages" VALUES(2,'fraud','rollback 1','rollback','back','','','','','2025-05-02 02:00:00.000000','2026-11-27 15:19:31');
CREATE TABLE promotions (
	model TEXT NOT NULL, 
	sequence INTEGER NOT NULL, 
	action TEXT NOT NULL, 
	from_version TEXT, 
	to_version TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	actor TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	hashes TEXT NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (model, sequence), 
	CONSTRAINT promotions_action_is_known CHECK (action IN ('promote', 'rollback')), 
	CONSTRAINT promotions_sequence_from_one CHECK (sequence >= 1)
);
INSERT INTO "promotions" VALUES('fraud',1,'promote',NULL,'1','2025-05-02 02:00:00.000000','gate','better','{"outcome": "PROMOTE"}','r1','{"model.onnx": "ab"}','2026-11-27 15:19:31');
INSERT INTO "promotions" VALUES('fraud',2,'promote','1','2','2025-05-02 02:00:00.000000','gate','better','{"outcome": "PROMOTE"}','r3','{"model.onnx": "ab"}','2026-11-27 15:19:31');
INSERT INTO "promotions" VALUES('fraud',3,'rollback','2','1','2025-05-02 02:00:00.000000','gate','better','{}','hand','{"model.onnx": "ab"}','2026-11-27 15:19:31');
CREATE TABLE readings (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	version TEXT NOT NULL, 
	day DATE NOT NULL, 
	signal TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	value FLOAT, 
	threshold FLOAT, 
	state TEXT NOT NULL, 
	told TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT readings_kind_is_known CHECK (kind IN ('drift', 'performance', 'estimate', 'feed')), 
	CONSTRAINT readings_state_is_known CHECK (state IN ('OK', 'WARN', 'CONFIRMED')), 
	CONSTRAINT reading_of_a_day_once UNIQUE (model, version, day, signal)
);
INSERT INTO "readings" VALUES(1,'fraud','1','2025-05-01','amount: location','drift',5.0,4.2,'CONFIRMED','{"state": {"windows": [true]}}','2025-05-02 02:00:00.000000','2026-11-27 15:19:31');
INSERT INTO "readings" VALUES(2,'fraud','1','2025-05-01','performance: x','performance',NULL,NULL,'OK','{}','2025-05-02 02:00:00.000000','2026-11-27 15:19:31');
INSERT INTO "readings" VALUES(3,'fraud','1','2025-05-02','amount: location','drift',5.0,4.2,'CONFIRMED','{"state": {"windows": [true]}}','2025-05-03 02:00:00.000000','2026-11-27 15:19:31');
INSERT INTO "readings" VALUES(4,'fraud','1','2025-05-02','performance: x','performance',NULL,NULL,'OK','{}','2025-05-03 02:00:00.000000','2026-11-27 15:19:31');
CREATE TABLE refusals (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	step TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT refused_once UNIQUE (model, as_of, step)
);
INSERT INTO "refusals" VALUES(1,'fraud','2025-05-03 02:00:00.000000','fit','no positives','r9','2026-11-27 15:19:32');
CREATE TABLE requests (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	"trigger" TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	requested_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT requests_trigger_is_known CHECK (trigger IN ('on_demand', 'schedule', 'new_data', 'performance', 'drift')), 
	CONSTRAINT request_delivered_once UNIQUE (model, "key")
);
INSERT INTO "requests" VALUES(1,'fraud','run r1','schedule','2025-05-02 02:00:00.000000','scheduler','nightly','{}','2026-11-27 15:19:31');
INSERT INTO "requests" VALUES(2,'fraud','confirmation 1','drift','2025-05-02 02:00:00.000000','monitor','amount has moved','{"day": "2025-05-01", "severity": 0.4, "version": "1"}','2026-11-27 15:19:31');
CREATE TABLE subscriptions (
	model TEXT NOT NULL, 
	channel TEXT NOT NULL, 
	event TEXT NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (model, channel, event), 
	CONSTRAINT subscriptions_event_is_known CHECK (event IN ('stopped batch', 'data incident', 'drift', 'performance', 'refused training', 'verdict', 'promotion', 'rollback', 'missed deadline'))
);
INSERT INTO "subscriptions" VALUES('fraud','log','verdict','2026-11-27 15:19:31');
CREATE TABLE trainings (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	idempotency_key TEXT NOT NULL, 
	as_of DATETIME NOT NULL, 
	"trigger" TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	watermark TEXT NOT NULL, 
	admitted BOOLEAN NOT NULL, 
	outcome_reason TEXT NOT NULL, 
	recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT trainings_trigger_is_known CHECK (trigger IN ('on_demand', 'schedule', 'new_data', 'performance', 'drift'))
);
INSERT INTO "trainings" VALUES(1,'fraud','k1','2025-05-02 02:00:00.000000','schedule','scheduler','nightly','r1','w',1,'first request with this key','2026-11-27 15:19:31');
INSERT INTO "trainings" VALUES(2,'fraud','k1','2025-05-02 02:00:00.000000','schedule','scheduler','nightly','r2','w',0,'run r1 was admitted with this key (schedule, as of 2025-05-02T02:00:00+00:00): look at that run, or train on other data','2026-11-27 15:19:31');
CREATE UNIQUE INDEX trainings_admitted_once ON trainings (model, idempotency_key) WHERE admitted;
CREATE UNIQUE INDEX decisions_once ON decisions (model, challenger_version, coalesce(champion_version, ''));
CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions is append-only: add a row instead'); END;
CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions is append-only: add a row instead'); END;
CREATE TRIGGER decisions_no_replace BEFORE INSERT ON decisions WHEN EXISTS (SELECT 1 FROM decisions WHERE id = NEW.id OR (model = NEW.model AND challenger_version = NEW.challenger_version AND champion_version IS NEW.champion_version)) BEGIN SELECT RAISE(ABORT, 'decisions is append-only: add a row instead'); END;
CREATE TRIGGER promotions_no_update BEFORE UPDATE ON promotions BEGIN SELECT RAISE(ABORT, 'promotions is append-only: add a row instead'); END;
CREATE TRIGGER promotions_no_delete BEFORE DELETE ON promotions BEGIN SELECT RAISE(ABORT, 'promotions is append-only: add a row instead'); END;
CREATE TRIGGER promotions_no_replace BEFORE INSERT ON promotions WHEN EXISTS (SELECT 1 FROM promotions WHERE model = NEW.model AND sequence = NEW.sequence) BEGIN SELECT RAISE(ABORT, 'promotions is append-only: add a row instead'); END;
CREATE TRIGGER holdout_uses_no_update BEFORE UPDATE ON holdout_uses BEGIN SELECT RAISE(ABORT, 'holdout_uses is append-only: add a row instead'); END;
CREATE TRIGGER holdout_uses_no_delete BEFORE DELETE ON holdout_uses BEGIN SELECT RAISE(ABORT, 'holdout_uses is append-only: add a row instead'); END;
CREATE TRIGGER holdout_uses_no_replace BEFORE INSERT ON holdout_uses WHEN EXISTS (SELECT 1 FROM holdout_uses WHERE id = NEW.id OR (model = NEW.model AND challenger_hash = NEW.challenger_hash AND champion_hash = NEW.champion_hash AND start = NEW.start AND "end" = NEW."end" AND alpha = NEW.alpha)) BEGIN SELECT RAISE(ABORT, 'holdout_uses is append-only: add a row instead'); END;
CREATE TRIGGER requests_no_update BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'requests is append-only: add a row instead'); END;
CREATE TRIGGER requests_no_delete BEFORE DELETE ON requests BEGIN SELECT RAISE(ABORT, 'requests is append-only: add a row instead'); END;
CREATE TRIGGER requests_no_replace BEFORE INSERT ON requests WHEN EXISTS (SELECT 1 FROM requests WHERE id = NEW.id OR (model = NEW.model AND key = NEW.key)) BEGIN SELECT RAISE(ABORT, 'requests is append-only: add a row instead'); END;
CREATE TRIGGER readings_no_update BEFORE UPDATE ON readings BEGIN SELECT RAISE(ABORT, 'readings is append-only: add a row instead'); END;
CREATE TRIGGER readings_no_delete BEFORE DELETE ON readings BEGIN SELECT RAISE(ABORT, 'readings is append-only: add a row instead'); END;
CREATE TRIGGER readings_no_replace BEFORE INSERT ON readings WHEN EXISTS (SELECT 1 FROM readings WHERE id = NEW.id OR (model = NEW.model AND version = NEW.version AND day = NEW.day AND signal = NEW.signal)) BEGIN SELECT RAISE(ABORT, 'readings is append-only: add a row instead'); END;
CREATE TRIGGER confirmations_no_update BEFORE UPDATE ON confirmations BEGIN SELECT RAISE(ABORT, 'confirmations is append-only: add a row instead'); END;
CREATE TRIGGER confirmations_no_delete BEFORE DELETE ON confirmations BEGIN SELECT RAISE(ABORT, 'confirmations is append-only: add a row instead'); END;
CREATE TRIGGER confirmations_no_replace BEFORE INSERT ON confirmations WHEN EXISTS (SELECT 1 FROM confirmations WHERE id = NEW.id OR (model = NEW.model AND version = NEW.version AND day = NEW.day AND trigger = NEW.trigger)) BEGIN SELECT RAISE(ABORT, 'confirmations is append-only: add a row instead'); END;
CREATE TRIGGER incidents_no_update BEFORE UPDATE ON incidents BEGIN SELECT RAISE(ABORT, 'incidents is append-only: add a row instead'); END;
CREATE TRIGGER incidents_no_delete BEFORE DELETE ON incidents BEGIN SELECT RAISE(ABORT, 'incidents is append-only: add a row instead'); END;
CREATE TRIGGER incidents_no_replace BEFORE INSERT ON incidents WHEN EXISTS (SELECT 1 FROM incidents WHERE id = NEW.id OR (model = NEW.model AND day = NEW.day AND fault = NEW.fault AND subject = NEW.subject)) BEGIN SELECT RAISE(ABORT, 'incidents is append-only: add a row instead'); END;
CREATE TRIGGER messages_no_update BEFORE UPDATE ON messages BEGIN SELECT RAISE(ABORT, 'messages is append-only: add a row instead'); END;
CREATE TRIGGER messages_no_delete BEFORE DELETE ON messages BEGIN SELECT RAISE(ABORT, 'messages is append-only: add a row instead'); END;
CREATE TRIGGER messages_no_replace BEFORE INSERT ON messages WHEN EXISTS (SELECT 1 FROM messages WHERE id = NEW.id OR (model = NEW.model AND key = NEW.key)) BEGIN SELECT RAISE(ABORT, 'messages is append-only: add a row instead'); END;
CREATE TRIGGER subscriptions_no_update BEFORE UPDATE ON subscriptions BEGIN SELECT RAISE(ABORT, 'subscriptions is append-only: add a row instead'); END;
CREATE TRIGGER subscriptions_no_delete BEFORE DELETE ON subscriptions BEGIN SELECT RAISE(ABORT, 'subscriptions is append-only: add a row instead'); END;
CREATE TRIGGER subscriptions_no_replace BEFORE INSERT ON subscriptions WHEN EXISTS (SELECT 1 FROM subscriptions WHERE model = NEW.model AND channel = NEW.channel AND event = NEW.event) BEGIN SELECT RAISE(ABORT, 'subscriptions is append-only: add a row instead'); END;
CREATE TRIGGER refusals_no_update BEFORE UPDATE ON refusals BEGIN SELECT RAISE(ABORT, 'refusals is append-only: add a row instead'); END;
CREATE TRIGGER refusals_no_delete BEFORE DELETE ON refusals BEGIN SELECT RAISE(ABORT, 'refusals is append-only: add a row instead'); END;
CREATE TRIGGER refusals_no_replace BEFORE INSERT ON refusals WHEN EXISTS (SELECT 1 FROM refusals WHERE id = NEW.id OR (model = NEW.model AND as_of = NEW.as_of AND step = NEW.step)) BEGIN SELECT RAISE(ABORT, 'refusals is append-only: add a row instead'); END;
CREATE TRIGGER answers_no_update BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'answers is append-only: add a row instead'); END;
CREATE TRIGGER answers_no_delete BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'answers is append-only: add a row instead'); END;
CREATE TRIGGER answers_no_replace BEFORE INSERT ON answers WHEN EXISTS (SELECT 1 FROM answers WHERE id = NEW.id OR (request = NEW.request AND run_id = NEW.run_id AND answer = NEW.answer)) BEGIN SELECT RAISE(ABORT, 'answers is append-only: add a row instead'); END;
CREATE TRIGGER deliveries_no_update BEFORE UPDATE ON deliveries BEGIN SELECT RAISE(ABORT, 'deliveries is append-only: add a row instead'); END;
CREATE TRIGGER deliveries_no_delete BEFORE DELETE ON deliveries BEGIN SELECT RAISE(ABORT, 'deliveries is append-only: add a row instead'); END;
CREATE TRIGGER deliveries_no_replace BEFORE INSERT ON deliveries WHEN EXISTS (SELECT 1 FROM deliveries WHERE message = NEW.message AND channel = NEW.channel) BEGIN SELECT RAISE(ABORT, 'deliveries is append-only: add a row instead'); END;
COMMIT;
