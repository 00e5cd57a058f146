"""Starts other job systems one after the other, measures them, and puts their figures beside those of Windlass."""
