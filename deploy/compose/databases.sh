#!/bin/sh
# Run once by PostgreSQL's image on an empty volume: a database and a role of its own for each that keeps something there.
set -eu

make() {
    psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set name="$1" --set password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

make airflow "$AIRFLOW_DB_PASSWORD"
make mlflow "$MLFLOW_DB_PASSWORD"
make feast "$FEAST_DB_PASSWORD"
make ledger "$LEDGER_DB_PASSWORD"
