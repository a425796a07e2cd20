"""The notebooks: runs them, and writes them with their outputs in a form that doesn't change from run to run.

python tools/run_notebooks.py [NAME ...]
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(path: Path, folder: Path) -> NotebookNode:
    """The notebook, run anew in a folder of its own, with one thread.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    places = dict.fromkeys(("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR", "MPLCONFIGDIR"), str(folder))
    env = os.environ | places | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where, record_timing=False)
    client.execute(env=env)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if picture := output.get("data", {}).get("image/png"):
            output.data["image/png"] = small(picture)
    return settled(notebook)


def settled(notebook: NotebookNode) -> NotebookNode:
    """The same without what says when, and by which interpreter, it ran; cells are named by their place."""
    notebook.metadata = NotebookNode(METADATA)
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i:02d}"
        cell.metadata = NotebookNode()
    return notebook


def small(picture: str) -> str:
    """A PNG in base64 with a palette of 128 colours, which is a third of its size."""
    image, found = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"), io.BytesIO()
    image.quantize(128, dither=Image.Dither.NONE).save(found, "PNG", optimize=True)
    return base64.b64encode(found.getvalue()).decode()


def main(names: list[str]) -> None:
    """Runs the notebooks of these names (all, if there are none) and writes them."""
    for path in NOTEBOOKS:
        if not names or path.stem in names:
            with tempfile.TemporaryDirectory() as folder:
                os.environ["JUPYTER_RUNTIME_DIR"] = folder
                nbformat.write(executed(path, Path(folder)), path)
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
