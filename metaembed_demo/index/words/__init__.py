"""The lexical index: words, codes and phrases of pages, ranked by BM25 on tantivy.

tokenizer.py turns words into terms, question.py a query into groups of terms, word_index.py finds the pages,
marking.py the words on a page that a query meets. index/fusion.py joins the scores with MaxSim's.
"""
