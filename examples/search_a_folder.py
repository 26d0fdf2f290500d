"""Search a folder of PDFs and pictures from Python, with MetaEmbed-Mini.

python examples/search_a_folder.py sample_corpus/pictures "a city at night"
"""

import sys
from pathlib import Path

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.search import research, search
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import Query
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.encoders.registry import load_encoder

folder, question = Path(sys.argv[1]), sys.argv[2]

# Read and encode every page. Adding tells its progress; `report` has what could not be read, and why.
encoder = load_encoder("mini")
collection, report = Collection.for_encoder(encoder), Report()
for progress in index_files(collection, uploads([folder]), encoder, report):
    print(f"{progress.done} of {progress.total}", end="\r")
for problem in report.problems:
    print(f"{problem.source}: {problem.message}")

# Ask at the largest budget, then at the smallest: that encodes nothing again.
trace = search(collection, encoder, Query(question), Budget(16, 64), k=5)
for found in (trace, research(collection, trace, Budget(1, 1), k=5)):
    print(f"Budget {found.budget}")
    for hit in found.hits:
        page = collection.pages[hit.page_id]
        print(f"  {hit.rank}. {hit.score:.3f}  {page.source}, page {page.number}")

# collection.save(Path("my-index")) keeps it; Collection.load(Path("my-index"), encoder.fingerprint) opens it.
