"""The enqueuing side of a kind in `bench/queues.py`, as a process of its own. It obeys lines on its
standard input and answers each with one line. `sidekiq_jobs.rb` does the same in Ruby.

`one N` enqueues N no-op jobs one by one, `many N` the same many at a time; both answer with the
seconds that took. `when` enqueues a job that tells when it started, and answers with the moment
before. `note QUEUE N` enqueues N jobs that tell their queue, and `hold` a job of ten minutes.
"""

import sys
import time
from collections.abc import Callable, Mapping

Command = Callable[..., object]


def obey(commands: Mapping[str, Command]) -> None:
    """Obey lines until the input ends.

    Parameters:
      commands: by name. Those whose name is `one`, `many` and `note` get a count.
    """
    print("ready", flush=True)
    for line in sys.stdin:
        name, *arguments = line.split()
        if name not in commands:
            print("-", flush=True)
            continue
        began, moment = time.perf_counter(), time.time()
        commands[name](*(int(each) if each.isdigit() else each for each in arguments))
        print(moment if name == "when" else time.perf_counter() - began, flush=True)
