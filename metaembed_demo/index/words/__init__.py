"""The lexical index: words, codes and phrases of pages, ranked by BM25 on tantivy.

    index = WordIndex()                          # or WordIndex.load(folder)
    index.add(page_id, words, language)          # the words of a page, in reading order
    index.remove([page_id])
    index.commit()                               # searches see both from now on
    found = index.search(query, k, allowed)      # .hits: page_id, score, literals; .asked: what was searched
    found.asked.also                             # misspelled word -> the spellings that were searched instead
    matches(found.asked, words, language)        # the words to mark on a page
    index.scores(found.asked, page_ids)          # BM25 of pages that the other ranker has found

tokenizer.py turns words into terms, question.py a query into groups of terms, asking.py fits these to what an
index holds, ranking.py makes tantivy's queries of them, engine.py is tantivy's index, word_index.py the
whole, marking.py `matches`. index/fusion.py joins the scores with MaxSim's.

tantivy's BM25 has k1 1.2 and b 0.75, and page lengths in 256 steps. Its statistics span all segments, so they
do not depend on the commits that pages came with; but they count removed pages until files are merged. An
index of up to SMALL pages is therefore built anew after a removal, a larger one when DEAD of it is removed;
with a tenth removed, scores are 5 to 10 % off, in the same order.
"""
