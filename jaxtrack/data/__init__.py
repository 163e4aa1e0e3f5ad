"""Sequences and benchmarks: what a tracker is run on and scored against.

`benchmarks` finds and loads them by name, `sequences` defines what they are made of. Every module of this
package that declares `BENCHMARKS` adds to the list; nothing has to be registered elsewhere.
"""
