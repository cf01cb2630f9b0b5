"""Notices: what somebody is to be told, and whether they have been."""
