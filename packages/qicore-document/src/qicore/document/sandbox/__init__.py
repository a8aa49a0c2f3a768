"""Rendering what a stranger wrote: in a process that can be killed.

Why a process. Inside one interpreter a template's time and memory can't be bounded: `9**9**9`,
`"%999999999d" % 1`, `x|center(10**9)`, the `str()` of thirty lists that each hold the last one twice, or a
comparison of two such lists are single calls into C, which no counter in the loops, no trace function and no
other thread interrupts, and a list of what to forbid is never complete. The kernel can: the worker has an
address space of fixed size and a CPU time limit, may write no file, and the parent kills it when its time is
up.

Why the data is copied. The worker sees plain values: what a template could reach is what it was given, not
the methods of live objects. Functions and filters of the host stay in the host, which calls them on request;
so do iterators, which are drawn in batches, so that streaming stays constant in memory.

What the host reads from the worker is length-prefixed UTF-8 and JSON, bounded in size, never pickle: a worker
that was taken over still can't make its host run anything.
"""
