#!/bin/sh
# Once before Airflow starts: its tables, and who may do what. Run again it changes nothing.
set -eu

airflow db migrate
airflow users create --role Admin --username admin --password "$AIRFLOW_ADMIN_PASSWORD" \
    --firstname Perennial --lastname Admin --email admin@localhost
