"""Multi-domain training: one network for the targets of many videos, which share all but its last layer."""
