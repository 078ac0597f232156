"""Before anything is timed: does the server say of every clip what the local detector says?"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from client.errors import ClientError
from client.inference import GrpcClient, HttpClient
from client.padding import unique
from client.retry import ONCE
from loadtest.measure.results import Run, Sample
from loadtest.runner.load_loops import short
from loadtest.runner.locust_driver import Target
from loadtest.workload.clips import find_clips
from loadtest.workload.reference import Reference

TIMEOUT_S = 120.0


def check_verdicts(target: Target, clips_dir: Path, reference: Reference) -> Run:
    """Every clip, to every model of the reference, over both doors in turns; a run whose problems tell what differs."""
    http = HttpClient(target.inference, TIMEOUT_S, keys=target.keys, retry=ONCE)
    grpc = GrpcClient(target.grpc_inference, TIMEOUT_S, keys=target.keys, retry=ONCE)
    clips = find_clips(clips_dir)
    samples: list[Sample] = []
    differing = []
    begun_s = time.perf_counter()
    pairs = [(model, clip) for model, judged in reference.items() for clip in judged]
    for index, (model, clip) in enumerate(pairs):
        door, client = (("http", http), ("grpc", grpc))[index % 2]
        expected = reference[model][clip]
        sent_s = time.perf_counter() - begun_s
        answer = {}
        try:
            answer = client.predict(model, unique(clips[clip].read_bytes())).body
            outcome = expected.outcome_of(answer)
        except ClientError as error:
            outcome = short(error)
        done_s = time.perf_counter() - begun_s
        samples.append(
            Sample(
                model=model,
                door=door,
                scheduled_s=sent_s,
                sent_s=sent_s,
                done_s=done_s,
                outcome=outcome,
                cache=answer.get("cache", ""),
                timings_s=answer.get("timings_s", {}),
                processing_s=answer.get("processing_time", 0.0),
                expected=expected.outcome,
            )
        )
        if not samples[-1].is_well:
            differing.append(f"{model} judges {clip} otherwise than the reference: {outcome}")
    http.close()
    grpc.close()
    run = Run("reference", "every clip", "mixed", time.perf_counter() - begun_s, tuple(samples), n_callers=1)
    return replace(run, problems=tuple(differing))
