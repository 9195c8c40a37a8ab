"""Tests of the instrument: a failure here says nothing about any claim."""
