CREATE FUNCTION public.answers_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'answers is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.confirmations_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'confirmations is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.decisions_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'decisions is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.deliveries_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'deliveries is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.holdout_uses_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'holdout_uses is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.incidents_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'incidents is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.messages_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'messages is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.promotions_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'promotions is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.readings_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'readings is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.refusals_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'refusals is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.requests_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'requests is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE FUNCTION public.subscriptions_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'subscriptions is append-only: add a row instead' USING ERRCODE = 'restrict_violation'; END $$;
CREATE TABLE public.answers (
    id integer NOT NULL,
    request integer NOT NULL,
    answer text NOT NULL,
    reason text NOT NULL,
    run_id text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT answers_answer_is_known CHECK ((answer = ANY (ARRAY['started'::text, 'joined'::text, 'waits'::text, 'refused'::text])))
);
CREATE SEQUENCE public.answers_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.answers_id_seq OWNED BY public.answers.id;
CREATE TABLE public.confirmations (
    id integer NOT NULL,
    model text NOT NULL,
    version text NOT NULL,
    day date NOT NULL,
    trigger text NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT confirmations_trigger_is_known CHECK ((trigger = ANY (ARRAY['on_demand'::text, 'schedule'::text, 'new_data'::text, 'performance'::text, 'drift'::text])))
);
CREATE SEQUENCE public.confirmations_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.confirmations_id_seq OWNED BY public.confirmations.id;
CREATE TABLE public.decisions (
    id integer NOT NULL,
    model text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    trigger text NOT NULL,
    run_id text NOT NULL,
    champion_version text,
    challenger_version text NOT NULL,
    outcome text NOT NULL,
    metric text NOT NULL,
    difference double precision,
    lower_bound double precision,
    interval_low double precision,
    interval_high double precision,
    minimum_detectable_effect double precision,
    rows bigint NOT NULL,
    training_rows bigint NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    seconds double precision,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT decisions_outcome_is_known CHECK ((outcome = ANY (ARRAY['PROMOTE'::text, 'KEEP'::text, 'INCONCLUSIVE'::text]))),
    CONSTRAINT decisions_trigger_is_known CHECK ((trigger = ANY (ARRAY['on_demand'::text, 'schedule'::text, 'new_data'::text, 'performance'::text, 'drift'::text])))
);
CREATE SEQUENCE public.decisions_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.decisions_id_seq OWNED BY public.decisions.id;
CREATE TABLE public.deliveries (
    message integer NOT NULL,
    channel text NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE TABLE public.holdout_uses (
    id integer NOT NULL,
    model text NOT NULL,
    challenger_hash text NOT NULL,
    champion_hash text NOT NULL,
    start timestamp with time zone NOT NULL,
    "end" timestamp with time zone NOT NULL,
    alpha double precision NOT NULL,
    as_of timestamp with time zone NOT NULL,
    run_id text NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT holdout_uses_window_is_not_empty CHECK ((start < "end"))
);
CREATE SEQUENCE public.holdout_uses_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.holdout_uses_id_seq OWNED BY public.holdout_uses.id;
CREATE TABLE public.incidents (
    id integer NOT NULL,
    model text NOT NULL,
    day date NOT NULL,
    fault text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE SEQUENCE public.incidents_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.incidents_id_seq OWNED BY public.incidents.id;
CREATE TABLE public.messages (
    id integer NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    event text NOT NULL,
    text text NOT NULL,
    figure text NOT NULL,
    dag_id text NOT NULL,
    run_id text NOT NULL,
    version text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT messages_event_is_known CHECK ((event = ANY (ARRAY['stopped batch'::text, 'data incident'::text, 'drift'::text, 'performance'::text, 'refused training'::text, 'verdict'::text, 'promotion'::text, 'rollback'::text, 'missed deadline'::text])))
);
CREATE SEQUENCE public.messages_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.messages_id_seq OWNED BY public.messages.id;
CREATE TABLE public.promotions (
    model text NOT NULL,
    sequence integer NOT NULL,
    action text NOT NULL,
    from_version text,
    to_version text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    verdict text NOT NULL,
    run_id text NOT NULL,
    hashes text NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT promotions_action_is_known CHECK ((action = ANY (ARRAY['promote'::text, 'rollback'::text]))),
    CONSTRAINT promotions_sequence_from_one CHECK ((sequence >= 1))
);
CREATE TABLE public.readings (
    id integer NOT NULL,
    model text NOT NULL,
    version text NOT NULL,
    day date NOT NULL,
    signal text NOT NULL,
    kind text NOT NULL,
    value double precision,
    threshold double precision,
    state text NOT NULL,
    told text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT readings_kind_is_known CHECK ((kind = ANY (ARRAY['drift'::text, 'performance'::text, 'estimate'::text, 'feed'::text]))),
    CONSTRAINT readings_state_is_known CHECK ((state = ANY (ARRAY['OK'::text, 'WARN'::text, 'CONFIRMED'::text])))
);
CREATE SEQUENCE public.readings_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.readings_id_seq OWNED BY public.readings.id;
CREATE TABLE public.refusals (
    id integer NOT NULL,
    model text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    step text NOT NULL,
    reason text NOT NULL,
    run_id text NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE SEQUENCE public.refusals_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.refusals_id_seq OWNED BY public.refusals.id;
CREATE TABLE public.requests (
    id integer NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    trigger text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    requested_by text NOT NULL,
    reason text NOT NULL,
    evidence text NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT requests_trigger_is_known CHECK ((trigger = ANY (ARRAY['on_demand'::text, 'schedule'::text, 'new_data'::text, 'performance'::text, 'drift'::text])))
);
CREATE SEQUENCE public.requests_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.requests_id_seq OWNED BY public.requests.id;
CREATE TABLE public.subscriptions (
    model text NOT NULL,
    channel text NOT NULL,
    event text NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT subscriptions_event_is_known CHECK ((event = ANY (ARRAY['stopped batch'::text, 'data incident'::text, 'drift'::text, 'performance'::text, 'refused training'::text, 'verdict'::text, 'promotion'::text, 'rollback'::text, 'missed deadline'::text])))
);
CREATE TABLE public.trainings (
    id integer NOT NULL,
    model text NOT NULL,
    idempotency_key text NOT NULL,
    as_of timestamp with time zone NOT NULL,
    trigger text NOT NULL,
    requested_by text NOT NULL,
    reason text NOT NULL,
    run_id text NOT NULL,
    watermark text NOT NULL,
    admitted boolean NOT NULL,
    outcome_reason text NOT NULL,
    recorded_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT trainings_trigger_is_known CHECK ((trigger = ANY (ARRAY['on_demand'::text, 'schedule'::text, 'new_data'::text, 'performance'::text, 'drift'::text])))
);
CREATE SEQUENCE public.trainings_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trainings_id_seq OWNED BY public.trainings.id;
ALTER TABLE ONLY public.answers ALTER COLUMN id SET DEFAULT nextval('public.answers_id_seq'::regclass);
ALTER TABLE ONLY public.confirmations ALTER COLUMN id SET DEFAULT nextval('public.confirmations_id_seq'::regclass);
ALTER TABLE ONLY public.decisions ALTER COLUMN id SET DEFAULT nextval('public.decisions_id_seq'::regclass);
ALTER TABLE ONLY public.holdout_uses ALTER COLUMN id SET DEFAULT nextval('public.holdout_uses_id_seq'::regclass);
ALTER TABLE ONLY public.incidents ALTER COLUMN id SET DEFAULT nextval('public.incidents_id_seq'::regclass);
ALTER TABLE ONLY public.messages ALTER COLUMN id SET DEFAULT nextval('public.messages_id_seq'::regclass);
ALTER TABLE ONLY public.readings ALTER COLUMN id SET DEFAULT nextval('public.readings_id_seq'::regclass);
ALTER TABLE ONLY public.refusals ALTER COLUMN id SET DEFAULT nextval('public.refusals_id_seq'::regclass);
ALTER TABLE ONLY public.requests ALTER COLUMN id SET DEFAULT nextval('public.requests_id_seq'::regclass);
ALTER TABLE ONLY public.trainings ALTER COLUMN id SET DEFAULT nextval('public.trainings_id_seq'::regclass);
INSERT INTO public.answers VALUES (1, 1, 'started', 'goes', 'r1', '2025-05-02 02:00:00+00', '2026-11-27 15:19:35.524777+00');
INSERT INTO public.answers VALUES (2, 2, 'waits', 'cooldown', 'r1', '2025-05-02 02:00:00+00', '2026-11-27 15:19:35.524777+00');
INSERT INTO public.confirmations VALUES (1, 'fraud', '1', '2025-05-01', 'drift', 'amount has moved', '{"severity": 0.4}', '2025-05-02 02:00:00+00', '2026-11-27 15:19:35.427349+00');
INSERT INTO public.confirmations VALUES (2, 'fraud', '1', '2025-05-02', 'drift', 'amount has moved', '{"severity": 0.4}', '2025-05-03 02:00:00+00', '2026-11-27 15:19:35.461762+00');
INSERT INTO public.decisions VALUES (1, 'fraud', '2025-05-02 02:00:00+00', 'schedule', 'r1', NULL, '1', 'PROMOTE', 'average_precision', 0.2, 0.1, 0.05, 0.3, 0.04, 1000, 5000, 'better', '{"primary": {"challenger": 0.5}}', 12.5, '2026-11-27 15:19:35.058061+00');
INSERT INTO public.decisions VALUES (2, 'fraud', '2025-05-02 02:00:00+00', 'drift', 'r3', '1', '2', 'KEEP', 'average_precision', NULL, NULL, NULL, NULL, NULL, 1000, 5000, 'no better, 100 %', '{}', NULL, '2026-11-27 15:19:35.100394+00');
INSERT INTO public.deliveries VALUES (1, 'log', '2026-11-27 15:19:35.711899+00');
INSERT INTO public.holdout_uses VALUES (1, 'fraud', 'c', 'b', '2025-05-02 02:00:00+00', '2025-05-09 02:00:00+00', 0.05, '2025-05-02 02:00:00+00', 'r1', '2026-11-27 15:19:35.232547+00');
INSERT INTO public.incidents VALUES (1, 'fraud', '2025-05-01', 'missing values', 'amount', '5 %', '{"share": 0.05}', '2025-05-02 02:00:00+00', '2026-11-27 15:19:35.427349+00');
INSERT INTO public.incidents VALUES (2, 'fraud', '2025-05-02', 'missing values', 'amount', '5 %', '{"share": 0.05}', '2025-05-03 02:00:00+00', '2026-11-27 15:19:35.461762+00');
INSERT INTO public.messages VALUES (1, 'fraud', 'verdict 1', 'verdict', 'KEEP', '0.1', 'train', 'r1', '1', '2025-05-02 02:00:00+00', '2026-11-27 15:19:35.621929+00');
INSERT INTO public.messages VALUES (2, 'fraud', 'rollback 1', 'rollback', 'back', '', '', '', '', '2025-05-02 02:00:00+00', '2026-11-27 15:19:35.648384+00');
INSERT INTO public.promotions VALUES ('fraud', 1, 'promote', NULL, '1', '2025-05-02 02:00:00+00', 'gate', 'better', '{"outcome": "PROMOTE"}', 'r1', '{"model.onnx": "ab"}', '2026-11-27 15:19:35.139931+00');
INSERT INTO public.promotions VALUES ('fraud', 2, 'promote', '1', '2', '2025-05-02 02:00:00+00', 'gate', 'better', '{"outcome": "PROMOTE"}', 'r3', '{"model.onnx": "ab"}', '2026-11-27 15:19:35.180406+00');
INSERT INTO public.promotions VALUES ('fraud', 3, 'rollback', '2', '1', '2025-05-02 02:00:00+00', 'gate', 'better', '{}', 'hand', '{"model.onnx": "ab"}', '2026-11-27 15:19:35.208175+00');
INSERT INTO public.readings VALUES (1, 'fraud', '1', '2025-05-01', 'amount: location', 'drift', 5, 4.2, 'CONFIRMED', '{"state": {"windows": [true]}}', '2025-05-02 02:00:00+00', '2026-11-27 15:19:35.427349+00');
INSERT INTO public.readings VALUES (2, 'fraud', '1', '2025-05-01', 'performance: x', 'performance', NULL, NULL, 'OK', '{}', '2025-05-02 02:00:00+00', '2026-11-27 15:19:35.427349+00');
INSERT INTO public.readings VALUES (3, 'fraud', '1', '2025-05-02', 'amount: location', 'drift', 5, 4.2, 'CONFIRMED', '{"state": {"windows": [true]}}', '2025-05-03 02:00:00+00', '2026-11-27 15:19:35.461762+00');
INSERT INTO public.readings VALUES (4, 'fraud', '1', '2025-05-02', 'performance: x', 'performance', NULL, NULL, 'OK', '{}', '2025-05-03 02:00:00+00', '2026-11-27 15:19:35.461762+00');
INSERT INTO public.refusals VALUES (1, 'fraud', '2025-05-03 02:00:00+00', 'fit', 'no positives', 'r9', '2026-11-27 15:19:35.792486+00');
INSERT INTO public.requests VALUES (1, 'fraud', 'run r1', 'schedule', '2025-05-02 02:00:00+00', 'scheduler', 'nightly', '{}', '2026-11-27 15:19:35.391357+00');
INSERT INTO public.requests VALUES (2, 'fraud', 'confirmation 1', 'drift', '2025-05-02 02:00:00+00', 'monitor', 'amount has moved', '{"day": "2025-05-01", "severity": 0.4, "version": "1"}', '2026-11-27 15:19:35.484359+00');
INSERT INTO public.subscriptions VALUES ('fraud', 'log', 'verdict', '2026-11-27 15:19:35.553619+00');
INSERT INTO public.trainings VALUES (1, 'fraud', 'k1', '2025-05-02 02:00:00+00', 'schedule', 'scheduler', 'nightly', 'r1', 'w', true, 'first request with this key', '2026-11-27 15:19:34.984678+00');
INSERT INTO public.trainings VALUES (2, 'fraud', 'k1', '2025-05-02 02:00:00+00', 'schedule', 'scheduler', 'nightly', 'r2', 'w', false, 'run r1 was admitted with this key (schedule, as of 2025-05-02T02:00:00+00:00): look at that run, or train on other data', '2026-11-27 15:19:35.021427+00');
SELECT pg_catalog.setval('public.answers_id_seq', 2, true);
SELECT pg_catalog.setval('public.confirmations_id_seq', 2, true);
SELECT pg_catalog.setval('public.decisions_id_seq', 2, true);
SELECT pg_catalog.setval('public.holdout_uses_id_seq', 1, true);
SELECT pg_catalog.setval('public.incidents_id_seq', 2, true);
SELECT pg_catalog.setval('public.messages_id_seq', 2, true);
SELECT pg_catalog.setval('public.readings_id_seq', 4, true);
SELECT pg_catalog.setval('public.refusals_id_seq', 1, true);
SELECT pg_catalog.setval('public.requests_id_seq', 2, true);
SELECT pg_catalog.setval('public.trainings_id_seq', 2, true);
ALTER TABLE ONLY public.answers
    ADD CONSTRAINT answers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.confirmations
    ADD CONSTRAINT confirmations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.confirmations
    ADD CONSTRAINT confirmed_once_a_day UNIQUE (model, version, day, trigger);
ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (message, channel);
ALTER TABLE ONLY public.holdout_uses
    ADD CONSTRAINT holdout_used_once UNIQUE (model, challenger_hash, champion_hash, start, "end", alpha);
ALTER TABLE ONLY public.holdout_uses
    ADD CONSTRAINT holdout_uses_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.incidents
    ADD CONSTRAINT incident_of_a_day_once UNIQUE (model, day, fault, subject);
ALTER TABLE ONLY public.incidents
    ADD CONSTRAINT incidents_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT message_posted_once UNIQUE (model, key);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.promotions
    ADD CONSTRAINT promotions_pkey PRIMARY KEY (model, sequence);
ALTER TABLE ONLY public.readings
    ADD CONSTRAINT reading_of_a_day_once UNIQUE (model, version, day, signal);
ALTER TABLE ONLY public.readings
    ADD CONSTRAINT readings_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.refusals
    ADD CONSTRAINT refusals_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.refusals
    ADD CONSTRAINT refused_once UNIQUE (model, as_of, step);
ALTER TABLE ONLY public.requests
    ADD CONSTRAINT request_delivered_once UNIQUE (model, key);
ALTER TABLE ONLY public.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.answers
    ADD CONSTRAINT run_answers_once UNIQUE (request, run_id, answer);
ALTER TABLE ONLY public.subscriptions
    ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (model, channel, event);
ALTER TABLE ONLY public.trainings
    ADD CONSTRAINT trainings_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX decisions_once ON public.decisions USING btree (model, challenger_version, COALESCE(champion_version, ''::text));
CREATE UNIQUE INDEX trainings_admitted_once ON public.trainings USING btree (model, idempotency_key) WHERE admitted;
CREATE TRIGGER answers_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.answers FOR EACH STATEMENT EXECUTE FUNCTION public.answers_append_only();
CREATE TRIGGER confirmations_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.confirmations FOR EACH STATEMENT EXECUTE FUNCTION public.confirmations_append_only();
CREATE TRIGGER decisions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.decisions FOR EACH STATEMENT EXECUTE FUNCTION public.decisions_append_only();
CREATE TRIGGER deliveries_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.deliveries FOR EACH STATEMENT EXECUTE FUNCTION public.deliveries_append_only();
CREATE TRIGGER holdout_uses_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.holdout_uses FOR EACH STATEMENT EXECUTE FUNCTION public.holdout_uses_append_only();
CREATE TRIGGER incidents_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.incidents FOR EACH STATEMENT EXECUTE FUNCTION public.incidents_append_only();
CREATE TRIGGER messages_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.messages FOR EACH STATEMENT EXECUTE FUNCTION public.messages_append_only();
CREATE TRIGGER promotions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.promotions FOR EACH STATEMENT EXECUTE FUNCTION public.promotions_append_only();
CREATE TRIGGER readings_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.readings FOR EACH STATEMENT EXECUTE FUNCTION public.readings_append_only();
CREATE TRIGGER refusals_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.refusals FOR EACH STATEMENT EXECUTE FUNCTION public.refusals_append_only();
CREATE TRIGGER requests_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.requests FOR EACH STATEMENT EXECUTE FUNCTION public.requests_append_only();
CREATE TRIGGER subscriptions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.subscriptions FOR EACH STATEMENT EXECUTE FUNCTION public.subscriptions_append_only();
ALTER TABLE ONLY public.answers
    ADD CONSTRAINT answers_request_fkey FOREIGN KEY (request) REFERENCES public.requests(id);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_message_fkey FOREIGN KEY (message) REFERENCES public.messages(id);
