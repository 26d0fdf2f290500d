"""FOLDER OUT: nDCG@5, nDCG@10 and reciprocal rank of FOLDER/NAME.run by qrels.txt, by ir_measures."""

import json
import sys
from pathlib import Path

import ir_measures
from ir_measures import RR, nDCG
from versions import versions

folder, out = sys.argv[1:]
qrels = list(ir_measures.read_trec_qrels(str(Path(folder, "qrels.txt"))))
figures = {nDCG @ 5: "ndcg@5", nDCG @ 10: "ndcg@10", RR: "mrr"}
found: dict = {"runs": {}}
for file in sorted(Path(folder).glob("*.run")):
    run = list(ir_measures.read_trec_run(str(file)))
    got = ir_measures.calc_aggregate(list(figures), qrels, run)
    found["runs"][file.stem] = {name: got[measure] for measure, name in figures.items()}
found["versions"] = versions(["ir-measures", "pytrec-eval-terrier", "numpy"])
Path(out).write_text(json.dumps(found))
