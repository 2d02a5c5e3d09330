import json
import logging

import pytest
from chat_server import chat_server, completion, good, media_of

from unibind import plugins
from unibind.errors import InvalidInputError, WriterError, WriterUnavailableError
from unibind.knowledge.base import open_base
from unibind.knowledge.build import build
from unibind.knowledge.captions import caption_plan, caption_rows
from unibind.knowledge.plan import Plan, split_lines
from unibind.knowledge.prompts import Ask, find_prompts, request_of
from unibind.knowledge.writers.batch import BatchWriter
from unibind.knowledge.writers.file import FileWriter
from unibind.knowledge.writers.openai_server import OpenAIWriter
from unibind.protocols import DescriptionWriter
from unibind.types import WriterSettings

SECRET = "sk-very-secret-key"


def question(n=2, name="frog"):
    (prompt,) = find_prompts(["looks"])
    return request_of(prompt, Ask(name, "animals", "", "s", tuple(range(n)), 0), base_seed=0)


def settings(site, **more):
    return WriterSettings(base_url=site.address, **{"model": "stub", "n_retries": 3} | more)


def plan(n=2, views="looks", classes=("heron", "kettle"), **more):
    return Plan(classes, prompts=split_lines(n, find_prompts(views.split(","))), **more)


def test_our_writers_enter_by_the_door_that_strangers_use():
    assert {"openai", "local", "file", "batch"} <= set(plugins.names("unibind.writers"))
    author = plugins.load("unibind.writers", "openai")(WriterSettings(model="m"))
    assert isinstance(author, DescriptionWriter)


def test_a_question_is_sent_as_json_data_with_schema_seed_and_sampling(no_key):
    with chat_server() as site:
        author = OpenAIWriter(settings(site, temperature=0.3, top_p=0.9))
        author.write(question())
        (body,) = site.bodies
    assert json.loads(body["messages"][-1]["content"])["class_name"] == "frog"
    assert body["messages"][0]["role"] == "system"
    assert "frog" not in body["messages"][0]["content"]
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"]["lines"]["minItems"] == 2
    assert body["seed"] == question().seed
    assert (body["temperature"], body["top_p"], body["model"]) == (0.3, 0.9, "stub")


def test_a_server_without_structured_output_is_asked_in_words(no_key):
    with chat_server(takes_schema=False) as site:
        author = OpenAIWriter(settings(site))
        for _ in range(3):
            assert author.write(question()).content
        assert ["response_format" in body for body in site.bodies] == [True, False, False, False]


def test_retry_after_is_honoured_and_rate_limits_without_it_are_waited_out(no_key):
    import time

    with chat_server(faults=iter(["429-retry-after", "429-retry-after", "none"])) as site:
        start = time.monotonic()
        OpenAIWriter(settings(site)).write(question())
        assert time.monotonic() - start >= 0.4
        assert len(site.bodies) == 3
    with chat_server(faults=iter(["429", "500", "reset", "none"])) as site:
        assert OpenAIWriter(settings(site)).write(question()).n_prompt_tokens == 100
        assert len(site.bodies) == 4


def test_a_limit_that_does_not_end_is_an_error_of_this_call(no_key):
    with (
        chat_server(faults=iter(["429"] * 9)) as site,
        pytest.raises(WriterError, match=r"RateLimitError.*slow down"),
    ):
        OpenAIWriter(settings(site, n_retries=1)).write(question())


@pytest.mark.parametrize(
    ("fault", "telling"), [("not-json", "busy|JSON"), ("no-choices", "no text")]
)
def test_an_answer_without_text_is_an_error_of_this_call(no_key, fault, telling):
    with chat_server(faults=iter([fault] * 9)) as site, pytest.raises(WriterError, match=telling):
        OpenAIWriter(settings(site)).write(question())


def test_the_key_comes_from_the_environment_and_appears_nowhere(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    with chat_server() as site:
        author = OpenAIWriter(settings(site))
        build(tmp_path / "b", plan(), author, writer_name="openai")
        assert site.headers[0]["Authorization"] == f"Bearer {SECRET}"
    written = b"".join(file.read_bytes() for file in (tmp_path / "b").iterdir())
    assert SECRET.encode() not in written
    assert SECRET not in caplog.text

    with chat_server(answer=lambda body: completion("")) as site:
        with pytest.raises(WriterError) as caught:
            OpenAIWriter(settings(site)).write(question())
        assert SECRET not in str(caught.value)


def test_without_a_key_openai_itself_is_not_asked(no_key):
    author = OpenAIWriter(WriterSettings(model="m"))
    with pytest.raises(WriterUnavailableError, match="set OPENAI_API_KEY"):
        author.write(question())


def test_the_only_model_of_a_server_is_found(no_key):
    with chat_server() as site:
        assert OpenAIWriter(settings(site, model=None)).model == "stub"
    with pytest.raises(WriterUnavailableError, match="no --model was named"):
        OpenAIWriter(settings(site, model=None, n_retries=0))


def test_a_server_that_is_not_there_is_an_error_of_the_call(no_key):
    with chat_server() as site:
        pass
    with pytest.raises(WriterError, match="APIConnectionError"):
        OpenAIWriter(settings(site, n_retries=0)).write(question())


def test_a_real_model_behind_a_real_server_makes_a_base(tmp_path, no_key, small_model):
    author = OpenAIWriter(
        WriterSettings(
            base_url=small_model.address,
            model="smollm2",
            lines_per_call=1,
            n_in_flight=2,
            max_tokens=60,
            timeout_s=600,
            n_retries=0,
        )
    )
    report = build(
        tmp_path / "b", plan(1, classes=("kettle",), n_attempts=1), author, writer_name="openai"
    )
    base = open_base(tmp_path / "b")
    assert report.n_calls >= 1
    assert report.n_lines + report.n_missing == 1
    assert all(len(text.split()) >= 4 for text in base.texts("kettle"))
    assert report.n_answer_tokens > 0


def test_the_local_model_makes_a_base_without_server_and_key(tmp_path, no_key, small_model):
    report = build(
        tmp_path / "b", plan(1, "looks", ("tram",), n_attempts=2), small_model, writer_name="local"
    )
    base = open_base(tmp_path / "b")
    assert report.n_lines + report.n_missing == 1
    source = base.sources[next(iter(base.sources))]
    assert source.generator.startswith("SmolLM2-135M-Instruct")
    assert report.n_prompt_tokens > 0
    with pytest.raises(WriterUnavailableError, match="reads text alone"):
        small_model.write(
            request_of(
                find_prompts(["looks"])[0],
                Ask("x", "", "", "s", (0,), 0, media=(("image/png", b"x"),)),
                base_seed=0,
            )
        )


def test_the_local_writer_tells_a_missing_file():
    pytest.importorskip("xllamacpp")
    from unibind.knowledge.writers.local import LocalWriter

    with pytest.raises(WriterUnavailableError, match=r"no model file nowhere.gguf"):
        LocalWriter(WriterSettings(model="nowhere.gguf"))


def test_a_file_is_read_into_its_places_and_checked(tmp_path):
    rows = [
        {"class_name": "heron", "view": "looks", "text": "A tall grey bird stands in the reeds."},
        {"class_name": "heron", "view": "looks", "text": "Sure! Here is one:"},
        {"class_name": "kettle", "text": "A round steel pot has a spout and a lid."},
    ]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    author = FileWriter(WriterSettings(files={"from": tmp_path / "f.jsonl"}))
    report = build(tmp_path / "b", plan(2), author, writer_name="file")
    base = open_base(tmp_path / "b")
    assert base.texts("heron") == [rows[0]["text"]]
    assert base.texts("kettle") == [rows[2]["text"]]
    assert (report.n_missing, report.refused["chat-debris"]) == (2, 4)
    with pytest.raises(WriterUnavailableError, match="--from"):
        FileWriter(WriterSettings())
    with pytest.raises(InvalidInputError, match="there is no file"):
        FileWriter(WriterSettings(files={"from": tmp_path / "none.jsonl"}))


def test_a_batch_is_written_read_back_and_completed(tmp_path):
    folder, base_folder = tmp_path / "batch", tmp_path / "b"

    def author():
        return BatchWriter(WriterSettings(model="big", lines_per_call=2, files={"batch": folder}))

    def answered(file, spoil):
        for n, text in enumerate((folder / file).read_text().splitlines()):
            row = json.loads(text)
            body = good(row["body"])
            if n in spoil:
                body["choices"][0]["message"]["content"] = "I'm sorry, but I can't help with that."
            yield {"custom_id": row["custom_id"], "response": {"status_code": 200, "body": body}}

    first = build(base_folder, plan(4), author(), writer_name="batch")
    assert (first.n_waiting, first.n_calls) == (4, 0)
    assert not base_folder.exists()
    row = json.loads((folder / "requests-001.jsonl").read_text().splitlines()[0])
    assert (row["method"], row["url"]) == ("POST", "/v1/chat/completions")
    assert row["body"]["model"] == "big"

    again = build(base_folder, plan(4), author(), writer_name="batch")
    assert again.n_waiting == 4
    assert len(list(folder.glob("requests-*"))) == 1  # what is under way is not written twice

    rows = list(answered("requests-001.jsonl", spoil={1}))
    (folder / "results-001.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    second = build(base_folder, plan(4), author(), writer_name="batch")
    assert (second.n_calls, second.n_waiting, second.n_lines) == (3, 2, 4)
    assert len((folder / "requests-002.jsonl").read_text().splitlines()) == 1

    rows = rows[3:] + list(answered("requests-002.jsonl", spoil=set()))
    (folder / "results-002.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    third = build(base_folder, plan(4), author(), writer_name="batch")
    assert (third.n_waiting, third.n_missing, third.n_lines) == (0, 0, 8)


def test_a_batch_tells_what_failed_and_what_it_needs(tmp_path):
    with pytest.raises(WriterUnavailableError, match="--batch FOLDER --model NAME"):
        BatchWriter(WriterSettings(model="m"))
    asked = question()
    error = {"custom_id": asked.key, "error": {"message": "too long"}}
    (tmp_path / "results.jsonl").write_text(json.dumps(error))
    author = BatchWriter(WriterSettings(model="m", files={"batch": tmp_path}))
    with pytest.raises(WriterError, match="too long"):
        author.write(asked)


def test_files_are_described_once_each_and_become_a_data_manifest(tmp_path, no_key):
    from PIL import Image

    from unibind.datasets import read_manifest
    from unibind.knowledge.rows import json_line

    shades = {"red": (200, 0, 0), "green": (0, 200, 0)}
    for name, colour in shades.items():
        (tmp_path / "pics" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), colour).save(tmp_path / "pics" / name / "a.png")

    def told(body):
        picture = media_of(body)
        name = next(n for n in shades if (tmp_path / "pics" / n / "a.png").read_bytes() == picture)
        return completion(json.dumps({"lines": [f"A small plain square is filled with {name}."]}))

    wanted = caption_plan([tmp_path / "pics"])
    with chat_server(answer=told) as site:
        author = OpenAIWriter(settings(site, lines_per_call=1))
        report = build(tmp_path / "b", wanted, author, writer_name="openai")
        assert (report.n_calls, report.n_missing) == (2, 0)
        assert build(tmp_path / "b", wanted, author, writer_name="openai").n_calls == 0
        assert "pics" not in json.dumps([body["messages"][0] for body in site.bodies])
    rows = list(caption_rows(open_base(tmp_path / "b")))
    assert [row["label"] for row in rows] == ["green", "red"]
    (tmp_path / "m.jsonl").write_text("".join(json_line(row) + "\n" for row in rows))
    assert [item.caption for item in read_manifest(tmp_path / "m.jsonl").items] == [
        "A small plain square is filled with green.",
        "A small plain square is filled with red.",
    ]


def test_what_cannot_be_described_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="there is no file"):
        caption_plan([tmp_path / "none.png"])
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InvalidInputError, match=r"ends in '.txt'"):
        caption_plan([tmp_path / "a.txt"])
    with pytest.raises(InvalidInputError, match="no picture or sound"):
        caption_plan([tmp_path])
    with (tmp_path / "big.png").open("wb") as file:
        file.truncate(20_000_001)
    with pytest.raises(InvalidInputError, match="20,000,001 bytes"):
        caption_plan([tmp_path])
