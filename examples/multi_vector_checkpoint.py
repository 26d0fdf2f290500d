"""Search with a sentence-transformers MultiVectorEncoder. Needs the extra `vlm`.

python examples/multi_vector_checkpoint.py FOLDER

The checkpoint made here is tiny and random, so it finds by chance. For a real one, give load_encoder its
folder or its name on the hub.
"""

import sys
import tempfile
from pathlib import Path

from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.search import search
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import Query
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.encoders.registry import load_encoder


def tiny(folder: Path) -> Path:
    """A text model of two small layers with a vector for each token, as sentence-transformers saves it."""
    letters = {token: i for i, token in enumerate(["[PAD]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz"])}
    words = Tokenizer(models.WordLevel(letters, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder
    )
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=len(letters), **sizes)).save_pretrained(folder)
    modules = [Transformer(str(folder)), MultiVectorMask(), Normalize("token_embeddings")]
    MultiVectorEncoder(modules=modules).save_pretrained(str(folder / "model"))
    return folder / "model"


with tempfile.TemporaryDirectory() as made:
    encoder = load_encoder(str(tiny(Path(made))))

collection = Collection.for_encoder(encoder)
for _ in index_files(collection, uploads([Path(sys.argv[1])]), encoder, Report()):
    pass
for hit in search(collection, encoder, Query("energy"), Budget(16, 64), k=3).hits:
    page = collection.pages[hit.page_id]
    print(f"{hit.rank}. {hit.score:.3f}  {page.source}, page {page.number}")
