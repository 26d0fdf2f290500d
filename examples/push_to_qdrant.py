"""Index a folder, move its vectors to Qdrant, and search them there. Needs the extra `qdrant`.

python examples/push_to_qdrant.py sample_corpus/pictures "a city at night" edge:qdrant-data

edge:FOLDER is Qdrant's engine in this process; http://localhost:6333 would be a server.
"""

import sys
from pathlib import Path

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.push_qdrant import open_remote, push, search_there
from metaembed_demo.collection.search import search
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import Query
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.encoders.registry import load_encoder

folder, question, location = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

encoder = load_encoder("mini")
collection = Collection.for_encoder(encoder)
for _ in index_files(collection, uploads([folder]), encoder, Report()):
    pass

# Copy what Qdrant lacks. Again after more pages were added, it copies only those.
remote = open_remote(collection, location, "pages")
for done in push(collection, remote):
    print(f"{done} of {len(collection)} pages are at {location}")
remote.close()

# From here on the vectors are asked for there; the pages' words and pictures stay here.
search_there(collection, location, "pages")
trace = search(collection, encoder, Query(question), Budget(8, 16), k=3)
for hit in trace.hits:
    page = collection.pages[hit.page_id]
    print(f"{hit.rank}. {hit.score:.3f}  {page.source}, page {page.number}")
