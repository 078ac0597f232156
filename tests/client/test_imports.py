from __future__ import annotations

import subprocess
import sys


def test_a_caller_needs_no_torch_and_nothing_of_the_server():
    program = (
        "import sys, client.inference, client.management, client.canary;"
        "print(sorted({'torch', 'model_defs', 'handlers', 'ts', 'cv2', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
