"""What the command llm asks of a server; run.sh starts it."""

import importlib.metadata
import os
import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "extra-openai-models.yaml"), "w", encoding="utf-8") as f:
        f.write(f"- model_id: pali\n  model_name: built-in\n  api_base: {os.environ['OPENAI_BASE_URL']}\n  vision: true\n")
    environment = dict(os.environ, LLM_USER_PATH=folder)
    command = [os.path.join(os.path.dirname(sys.executable), "llm"), "-m", "pali", "caption en", "-a", os.environ["PICTURE"]]
    text = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    whole = subprocess.run(command + ["--no-stream"], env=environment, check=True, capture_output=True, text=True).stdout.strip()
assert text == whole and len(text) > 10, (text, whole)
print("llm", importlib.metadata.version("llm"), ":", text)
