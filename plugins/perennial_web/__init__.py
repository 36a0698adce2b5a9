"""The pages behind Airflow's login: routes, who may see and do what, and what the buttons do."""
