#!/bin/sh
# Once before Airflow starts: its tables, and who may do what. Run again it changes nothing.
set -eu

airflow db migrate
exec python -m deploy.compose.roles
