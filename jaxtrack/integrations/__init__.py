"""Trackers in the hands of other people's toolkits. Nothing of those toolkits is needed to import this."""
