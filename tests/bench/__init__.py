"""Tests of the bench verb."""
