"""The model in a loop, with no server: `python -m loadtest.peers.in_process_loop MODEL DIRECTORY [CLIP]`.

It reads orders from its input, one JSON object a line ({"n_in_flight": 8, "seconds": 3}), and answers each with a line:
latencies_ms, elapsed_s, cpu_s, answers. As many files as are in flight, but a batch at most, are judged together.
Making payloads is not counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from loadtest.peers.predictor import open_judge
from loadtest.peers.workload import payload


def main(model: str, directory: str, clip: str = "") -> None:
    """Answers orders until its input ends."""
    judge, serving = open_judge(model, Path(directory))
    content = Path(clip).read_bytes() if clip else b""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        n_together = min(order["n_in_flight"], serving.batch_size)
        latencies_ms, answers, elapsed_s, cpu_s = [], [], 0.0, 0.0
        while not answers or elapsed_s < order["seconds"]:
            bodies = [payload(model, content) for _ in range(n_together)]
            cpu_started_s, started_s = time.process_time(), time.perf_counter()
            answers += judge(bodies)
            took_s = time.perf_counter() - started_s
            cpu_s += time.process_time() - cpu_started_s
            elapsed_s += took_s
            latencies_ms += [1e3 * took_s] * n_together
        record = {"latencies_ms": latencies_ms, "elapsed_s": elapsed_s, "cpu_s": cpu_s, "answers": answers}
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
