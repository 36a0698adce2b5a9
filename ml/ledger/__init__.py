"""What happened, in one database: trainings, decisions, moves, requests, signals and messages. Rows are only added."""
