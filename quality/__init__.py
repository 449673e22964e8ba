"""Measure, judge, adapt: pure code that takes values and `now` and returns decisions."""
