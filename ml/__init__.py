"""Perennial: a continuous-training pipeline. Airflow decides when; this package knows how, and never imports Airflow."""
