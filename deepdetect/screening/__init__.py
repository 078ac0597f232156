"""Bulk screening: a back catalogue of files, judged shard by shard, one row a file, resumed where it stopped.

`deepdetect screen` is the command. `judge.judge_shard` is all that an engine runs; the engines are `concurrent.futures`
on this machine and Ray on several. The extra `[screen]` brings pyarrow, `[ray]` Ray.
"""
