"""What each budget is worth on your own pages, from questions with judged answers.

python examples/study_budgets.py sample_corpus

The folder holds PDFs or pictures, queries.jsonl ({"_id": ..., "text": ...} a line) and qrels/test.tsv
(query-id, corpus-id, score; a corpus-id is `file` or `file#page`).
"""

import sys
from pathlib import Path

from metaembed_demo.collection.progress import Report
from metaembed_demo.encoders.registry import load_encoder
from metaembed_demo.evaluation.beir import Judgements, collect, load_beir
from metaembed_demo.evaluation.evaluate import evaluate

encoder, report = load_encoder("mini"), Report()
corpus = load_beir(Path(sys.argv[1]))
collection = collect(corpus, encoder, report)  # a folder as third argument keeps the index for the next time
for problem in report.problems:
    print(f"{problem.source}: {problem.message}")

judgements = Judgements(corpus.qrels, collection)
if judgements.missing:
    print("No file or page answers to", ", ".join(judgements.missing))

study = evaluate(collection, encoder, corpus, judgements)
print(f"{study['pages']} pages, {study['queries']} questions")
print("budget  nDCG@5  95% interval    bytes a page")
for row in study["budgets"]:
    low, high = row["ci95"]["ndcg@5"]
    print(f"{row['budget']:7} {row['ndcg@5']:.3f}   {low:.3f} to {high:.3f}  {row['bytes_per_page']:>8,}")
