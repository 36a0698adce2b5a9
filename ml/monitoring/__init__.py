"""Compares each day of a champion with its reference. Input: daily statistics. Output: alarms with a severity; incidents."""
