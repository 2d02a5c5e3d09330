"""The HTTP contract, asked of a real server process."""

import base64
import json
import re

import numpy as np
import openai
import pytest
from conftest import png

import unibind


@pytest.fixture
def ai(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


@pytest.fixture(scope="module")
def engine(mini_weights, tmp_path_factory):
    with unibind.open(tmp_path_factory.mktemp("same") / "mini") as opened:
        yield opened


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def error_of(response) -> dict:
    told = response.json()
    assert set(told) == {"error"}
    assert {"message", "type", "param", "code"} <= set(told["error"])
    return told["error"]


# OpenAI's client, unchanged.


def test_openais_client_embeds_a_text_as_the_engine_does(ai, engine):
    answer = ai.embeddings.create(model="mini", input="a red kettle")
    assert answer.object == "list"
    assert answer.model == "mini"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 5
    np.testing.assert_allclose(
        answer.data[0].embedding, engine.embed("text", ["a red kettle"])[0], atol=1e-6
    )


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_openais_client_takes_both_encodings(ai, engine, encoding):
    answer = ai.embeddings.create(model="mini", input="a dog", encoding_format=encoding)
    given = answer.data[0].embedding
    row = np.frombuffer(base64.b64decode(given), "<f4") if encoding == "base64" else given
    np.testing.assert_allclose(row, engine.embed("text", ["a dog"])[0], atol=1e-6)


def test_openais_client_embeds_a_batch_in_order(ai, engine):
    texts = [f"sentence {n} of a batch" for n in range(70)]
    answer = ai.embeddings.create(model="mini", input=texts)
    assert [each.index for each in answer.data] == list(range(70))
    rows = np.array([each.embedding for each in answer.data])
    np.testing.assert_allclose(rows, engine.embed("text", texts), atol=1e-5)


def test_openais_client_sees_an_unknown_model_as_such(ai):
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        ai.embeddings.create(model="gpt", input="x")


def test_openais_client_lists_the_space(ai):
    assert [model.id for model in ai.models.list()] == ["mini"]


def test_openais_client_is_told_that_token_ids_are_no_texts(ai):
    with pytest.raises(openai.BadRequestError, match="token ids"):
        ai.embeddings.create(model="mini", input=[[1, 2, 3]])


# Typed parts.


def test_parts_of_two_modalities_go_in_one_call(client, engine, picture):
    parts = ["a dog", {"type": "image", "data": b64(picture)}, {"type": "text", "text": "a cat"}]
    answer = client.post("/v1/embeddings", json={"input": parts}).raise_for_status().json()
    rows = np.array([each["embedding"] for each in answer["data"]])
    np.testing.assert_allclose(rows[1], engine.embed("image", [picture])[0], atol=1e-5)
    np.testing.assert_allclose(rows[[0, 2]], engine.embed("text", ["a dog", "a cat"]), atol=1e-6)


def test_a_data_url_is_a_file_too(client, picture):
    urls = [f"data:image/png;base64,{b64(picture)}", b64(picture)]
    parts = [{"type": "image", "url": urls[0]}, {"type": "image", "data": urls[1]}]
    answer = client.post("/v1/embeddings", json={"input": parts}).raise_for_status().json()
    assert answer["data"][0]["embedding"] == answer["data"][1]["embedding"]


def test_a_file_can_be_uploaded_and_tells_what_it_is(client, picture):
    files = [("file", ("a.png", picture)), ("file", ("b.txt", b"a red kettle"))]
    form = {"classes": json.dumps(["a kettle", "a dog"])}
    answer = client.post("/v1/classify", files=files, data=form).raise_for_status().json()
    assert [each["type"] for each in answer["results"]] == ["image", "text"]
    assert answer["results"][1]["label"] == "a kettle"


@pytest.mark.parametrize(
    ("part", "param", "words"),
    [
        ({"type": "image", "data": "bm8="}, "input", "not a picture"),
        ({"type": "image", "data": "%%"}, "input.data", "not base64"),
        ({"type": "image", "text": "x"}, "input.text", "image is no text"),
        ({"type": "smell", "data": "bm8="}, "input.type", "no modality 'smell'"),
        ({"type": "image"}, "input", "give one of text, data, url and file"),
        ({"type": "image", "data": "bm8=", "url": "x"}, "input", "data and url"),
        ({"type": "image", "data": "bm8=", "options": {"dpi": 1}}, "input.options", "no option"),
        ({"type": "image", "url": "https://example.org/a.png"}, "input.url", "fetches no URLs"),
        ({"type": "image", "file": "x"}, "input.file", "the form has no file"),
        ("", "input", "at least 1 character"),
    ],
)
def test_a_bad_part_is_named_and_explained(client, part, param, words):
    error = error_of(client.post("/v1/embeddings", json={"input": part}))
    assert error["param"] == param
    assert words in error["message"]


def test_several_bad_parts_are_all_named(client, picture):
    bad = {"type": "image", "data": "bm8="}
    parts = ["fine", bad, {"type": "image", "data": b64(picture)}, bad | {"data": "bmUK"}]
    error = error_of(client.post("/v1/embeddings", json={"input": parts}))
    assert [each["param"] for each in error["details"]] == ["input[1]", "input[3]"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "required"),
        ({"input": []}, "at least 1"),
        ({"input": "x", "encoding_format": "hex"}, "float"),
        ({"input": "x", "dimensions": 12}, "384 dimensions"),
        ({"input": ["x"] * 2049}, "at most 2,048"),
    ],
)
def test_a_bad_request_for_embeddings_is_refused(client, body, words):
    response = client.post("/v1/embeddings", json=body)
    assert response.status_code == 400
    assert words in error_of(response)["message"]


# Classes.


def test_classify_gives_the_engines_probabilities_and_says_why(client, engine, picture):
    body = {"input": {"type": "image", "data": b64(picture)}, "classes": ["a cat", "a quilt"]}
    (result,) = client.post("/v1/classify", json=body).raise_for_status().json()["results"]
    ((first, second),) = engine.classify("image", [picture], classes=["a cat", "a quilt"])
    assert [each["label"] for each in result["predictions"]] == [first.label, second.label]
    assert result["predictions"][0]["probability"] == pytest.approx(first.probability, abs=1e-4)
    assert result["predictions"][0]["reasons"]


def test_descriptions_in_the_call_stand_for_their_class(client):
    classes = [
        {"name": "A", "descriptions": ["a purring pet that hunts mice", "a small feline"]},
        {"name": "B", "descriptions": ["a large vehicle with many seats", "it stops for people"]},
    ]
    body = {"input": "it carries passengers through the city", "classes": classes}
    (result,) = client.post("/v1/classify", json=body).raise_for_status().json()["results"]
    assert result["label"] == "B"
    assert result["predictions"][0]["reasons"][0]["text"].startswith(("a large", "it stops"))


def test_a_knowledge_base_can_be_named_but_no_path(client):
    body = {"input": "a musical instrument with strings", "knowledge": "everyday", "top": 3}
    body["classes"] = ["guitar", "frog", "bread"]
    (result,) = client.post("/v1/classify", json=body).raise_for_status().json()["results"]
    assert result["label"] == "guitar"
    for name in ("../everyday", "/etc", "nothing", "a/b"):
        response = client.post("/v1/classify", json=body | {"knowledge": name})
        assert response.status_code in (400, 404), name
        error_of(response)


@pytest.mark.parametrize(
    ("classes", "words"), [(["a", "a"], "twice"), ([" "], "no name"), ([], "at least 1")]
)
def test_classes_that_cannot_be_are_refused(client, classes, words):
    response = client.post("/v1/classify", json={"input": "x", "classes": classes})
    assert response.status_code == 400
    assert words in error_of(response)["message"]


def test_classify_without_classes_is_refused(client):
    assert "classes" in error_of(client.post("/v1/classify", json={"input": "x"}))["message"]


# Items and search.


@pytest.fixture
def put(client):
    keys = []

    def put(key: str, **item):
        keys.append(key)
        path = "/v1/items/" + "".join(f"%{byte:02X}" for byte in key.encode())
        return client.put(path, json=item)

    yield put
    for key in keys:
        client.delete("/v1/items/" + "".join(f"%{byte:02X}" for byte in key.encode()))


def test_an_item_is_there_once_it_was_put_and_gone_once_deleted(client, put):
    assert put("k1", type="text", text="a red kettle", metadata={"n": 1}).status_code == 200
    item = client.get("/v1/items/k1?include=embedding").raise_for_status().json()
    assert (item["key"], item["type"], item["metadata"]) == ("k1", "text", {"n": 1})
    assert np.linalg.norm(item["embedding"]) == pytest.approx(1, abs=1e-4)
    assert client.delete("/v1/items/k1").json() == {"object": "item", "key": "k1", "deleted": True}
    assert client.get("/v1/items/k1").status_code == 404
    assert client.delete("/v1/items/k1").status_code == 404


@pytest.mark.parametrize("key", ["a/b", "../../etc/passwd", "ü ß", "%2F", "a?b#c", ".", "x" * 900])
def test_any_key_is_just_a_name(put, client, served, key):
    assert put(key, type="text", text="something").json()["key"] == key
    path = "/v1/items/" + "".join(f"%{byte:02X}" for byte in key.encode())
    assert client.get(path).json()["key"] == key
    assert not list(served.folder.rglob("passwd"))


def test_search_finds_by_meaning_filters_and_searches_words(put, client, picture):
    put("s-kettle", type="text", text="a kettle for tea", metadata={"kind": "ware"})
    put("s-dog", type="text", text="a barking dog", metadata={"kind": "pet", "note": "zyzzyva"})
    put("s-picture", type="image", data=b64(picture), metadata={"kind": "pet"})
    body = {"input": "an animal that barks", "k": 5, "into": ["text"]}
    (found,) = client.post("/v1/search", json=body).raise_for_status().json()["results"]
    assert found["hits"][0]["key"] == "s-dog"
    where = {"kind": "ware"}
    (found,) = client.post("/v1/search", json=body | {"where": where}).json()["results"]
    assert [hit["key"] for hit in found["hits"]] == ["s-kettle"]
    asked = {"input": "zyzzyva", "hybrid": True, "k": 1}
    (found,) = client.post("/v1/search", json=asked).json()["results"]
    assert found["hits"][0]["key"] == "s-dog"
    body = {"input": {"type": "image", "data": b64(picture)}, "k": 1, "into": ["image"]}
    (found,) = client.post("/v1/search", json=body).json()["results"]
    assert found["hits"][0]["key"] == "s-picture"


def test_a_search_that_cannot_be_is_explained(client, put):
    put("w", type="text", text="x", metadata={"kind": "ware"})
    for body, words in [
        ({"input": "x", "where": {"kin": 1}}, "did you mean 'kind'"),
        ({"input": "x", "into": ["smell"]}, "no modality"),
        ({"input": "x", "k": 0}, "greater than or equal to 1"),
        ({"input": {"type": "image", "data": b64(png(5))}, "hybrid": True}, "no text"),
    ]:
        response = client.post("/v1/search", json=body)
        assert response.status_code == 400
        assert words in error_of(response)["message"]


def test_a_batch_answers_each_line_in_order_and_a_bad_one_fails_alone(client, served):
    lines = [
        json.dumps({"key": "b1", "type": "text", "text": "one"}),
        "no json",
        json.dumps({"key": "b2", "type": "image", "data": "bm8="}),
        "",
        json.dumps({"key": "b3", "type": "text", "text": "three", "metadata": {"n": 3}}),
        json.dumps({"key": "b1", "type": "text", "text": "one again", "metadata": {"n": 4}}),
    ]
    response = client.post(
        "/v1/items:batch",
        content="\n".join(lines).encode(),
        headers={"Content-Type": "application/x-ndjson"},
    )
    results = [json.loads(line) for line in response.text.splitlines()]
    assert "".join(each["status"][0] for each in results) == "sffss"
    assert [each["line"] for each in results] == [1, 2, 3, 4, 5]
    assert "not a picture" in results[2]["error"]["message"]
    assert client.get("/v1/items/b1").json()["metadata"] == {"n": 4}
    for key in ("b1", "b3"):
        client.delete(f"/v1/items/{key}")


def test_what_was_uploaded_can_be_shown_again(put, client, picture):
    put("shown", type="image", data=b64(picture))
    preview = client.get("/v1/items/shown/preview")
    assert preview.headers["content-type"] == "image/png"
    assert preview.content.startswith(b"\x89PNG")
    content = client.get("/v1/items/shown/content")
    assert content.content == picture
    assert content.headers["content-type"] == "application/octet-stream"
    assert content.headers["content-disposition"] == "attachment"
    array = client.get("/v1/items/shown/inspect").json()["item"]["array"]
    assert array["dtype"] == "uint8"
    assert len(base64.b64decode(array["data"])) == np.prod(array["shape"])
    assert client.get("/v1/items/nothing/preview").status_code == 404


def test_inspect_says_what_was_read(client):
    sent = {"input": {"type": "text", "text": "a red kettle"}}
    answer = client.post("/v1/inspect", json=sent).raise_for_status().json()
    assert answer["item"] == {"value": "a red kettle"}
    assert answer["preview"] is None


# The space.


def test_modalities_say_formats_units_and_limits(client):
    listed = {each["type"]: each for each in client.get("/v1/modalities").json()["data"]}
    image = listed["image"]
    assert ".png" in image["formats"]
    assert "sRGB" in image["units"]
    assert image["available"]
    assert listed["text"]["takes_text"]


def test_the_map_shows_what_is_stored(put, client):
    for n in range(3):
        put(f"m{n}", type="text", text=f"thing {n}", metadata={"label": f"label {n}"})
    answer = client.get("/v1/map?limit=100").raise_for_status().json()
    labels = {point["key"]: point["label"] for point in answer["points"]}
    assert labels["m1"] == "label 1"
    assert answer["types"]["text"] >= 3


def test_the_knowledge_base_can_be_read_page_by_page(client):
    (entry,) = [
        each for each in client.get("/v1/knowledge").json()["data"] if each["name"] == "everyday"
    ]
    page = client.get("/v1/knowledge/everyday/lines?class_name=frog&limit=2").json()
    assert page["content_id"] == entry["content_id"]
    assert {line["class_name"] for line in page["data"]} == {"frog"}
    assert len(page["data"]) == 2 < page["total"]
    assert client.get("/v1/knowledge/nothing/lines").status_code == 404


def test_a_change_can_be_tried_without_being_made(client):
    change = {
        "action": "edit", "rows": [1], "text": "A frog is green.", "reviewer": "t", "dry_run": True,
    }  # fmt: skip
    answer = client.post("/v1/knowledge/everyday/changes", json=change).raise_for_status().json()
    assert not answer["saved"]
    assert answer["added"][0]["text"] == "A frog is green."
    assert answer["center_shifts"]["frog"] > 0
    stale = change | {"content_id": "0" * 64}
    assert client.post("/v1/knowledge/everyday/changes", json=stale).status_code == 409


# Operation.


def test_every_answer_has_an_id_and_the_clients_own_is_kept(client):
    assert re.fullmatch("[0-9a-f]{32}", client.get("/healthz").headers["x-request-id"])
    kept = client.get("/healthz", headers={"X-Request-Id": "mine-1"})
    assert kept.headers["x-request-id"] == "mine-1"
    error = error_of(client.get("/v1/nothing", headers={"X-Request-Id": "mine-2"}))
    assert error["request_id"] == "mine-2"


def test_ready_means_that_the_model_worked(client):
    assert client.get("/readyz").json() == {"status": "ready", "faults": {}}


def test_metrics_tell_of_requests_stages_and_batches(client):
    client.post("/v1/embeddings", json={"input": "counted"})
    text = client.get("/metrics").text
    for name in (
        'unibind_requests_total{method="POST",route="/v1/embeddings",status="200"}',
        'unibind_stage_seconds_count{modality="text",stage="model"}',
        'unibind_batch_items_count{modality="text"}',
        'unibind_cache_total{result="miss"}',
        'unibind_waiting_items{modality="text"}',
        "unibind_ready 1.0",
    ):
        assert name in text, name


def test_the_log_is_json_and_tells_nothing_of_what_was_sent(client, served):
    client.post("/v1/embeddings", json={"input": "a very secret sentence"})
    lines = [json.loads(line) for line in served.log.read_text().splitlines() if line[:1] == "{"]
    assert any(line.get("route") == "/v1/embeddings" for line in lines)
    assert "very secret" not in served.log.read_text()


def test_a_deadline_that_is_no_time_is_refused(client):
    headers = {"X-Request-Timeout": "soon"}
    response = client.post("/v1/embeddings", json={"input": "x"}, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (400, "invalid_timeout")


def test_a_deadline_that_has_passed_drops_the_work(client):
    headers = {"X-Request-Timeout": "0.001"}
    texts = [f"long enough to take its time {n}" for n in range(256)]
    response = client.post("/v1/embeddings", json={"input": texts}, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (504, "deadline")


def test_writes_are_audited(client, served, put):
    put("audited", type="text", text="x")
    client.delete("/v1/items/audited")
    lines = [json.loads(line) for line in (served.root / "audit.jsonl").read_text().splitlines()]
    told = [line["message"] for line in lines if line.get("keys") == ["audited"]]
    assert told == ["put", "delete"]


def test_the_openapi_document_has_examples_and_names_every_modality(client):
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert {"text", "image", "auto"} <= set(schemas["Part"]["properties"]["type"]["enum"])
    assert schemas["EmbeddingsRequest"]["examples"]
    body = document["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}


WITHOUT_JSON = {"/v1/items/{key}/preview", "/v1/items/{key}/content"}  # pictures and files


def operations(client):
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield document, method, path, operation


def test_every_operation_has_examples_of_what_goes_in_and_out(client):
    for _, method, path, operation in operations(client):
        for parameter in operation.get("parameters", ()):
            assert "example" in parameter, (path, parameter["name"])
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            has_files = kind == "multipart/form-data" and path != "/v1/alignments"
            assert has_files or content.get("example") or content.get("examples"), (path, kind)
        answers = [each for code, each in operation["responses"].items() if code in ("200", "202")]
        if path not in WITHOUT_JSON:
            (content,) = answers[0]["content"].values()
            assert content["example"] is not None, (method, path)


def test_every_example_is_as_its_schema_says(client):
    from jsonschema_rs import validator_for

    n_checked = 0
    for document, _, path, operation in operations(client):
        contents = [
            *operation.get("requestBody", {}).get("content", {}).values(),
            *(
                content
                for code, answer in operation["responses"].items()
                for content in answer.get("content", {}).values()
                if code in ("200", "202")
            ),
        ]
        for content in contents:
            examples = [each["value"] for each in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            schema = content.get("schema", {}) | {"components": document["components"]}
            for example in examples:
                validator_for(schema).validate(example)
                n_checked += 1
        for parameter in operation.get("parameters", ()):
            validator_for(parameter["schema"]).validate(parameter["example"])
            n_checked += 1
        assert path
    assert n_checked > 50


def test_the_examples_of_requests_are_answered(client):
    """Those of words are sent as they stand; a picture of twelve bytes is refused as one."""
    for path in ("/v1/embeddings", "/v1/classify", "/v1/inspect"):
        document = client.get("/openapi.json").json()
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for example in content["examples"].values():
            answer = client.post(path, json=example["value"])
            has_file = "iVBORw0KGgo=" in json.dumps(example["value"])
            assert answer.status_code == (400 if has_file else 200), (path, answer.text)
