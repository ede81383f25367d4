"""What the application says about itself is complete, and what it does."""

from __future__ import annotations

import json

import jsonschema_rs

from expunge.api.pages import PAGES

PROBLEM = "application/problem+json"


def operations(server):
    for path, methods in server.app.openapi()["paths"].items():
        for method, said in methods.items():
            yield method.upper(), path, said


def test_every_route_says_all_about_itself(shared):
    described = shared.app.openapi()
    seen = set()
    for method, path, said in operations(shared):
        name = f"{method} {path}"
        assert said["operationId"] not in seen, name
        seen.add(said["operationId"])
        assert said["summary"], name
        assert said["description"], name
        assert said["tags"], name
        assert "security" in said, name
        assert "500" in said["responses"], name
        for status, response in said["responses"].items():
            assert response["description"], (name, status)
            if int(status) >= 400:
                assert list(response["content"]) == [PROBLEM], (name, status)
        for parameter in said.get("parameters", []):
            assert parameter.get("description"), (name, parameter["name"])
    assert set(described["components"]["securitySchemes"]) == {"apiKey"}
    text = json.dumps(described)
    for name in described["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text, name
    assert "HTTPValidationError" not in text


def test_every_string_list_and_number_that_is_taken_is_bounded(shared):
    schemas = shared.app.openapi()["components"]["schemas"]
    for name in ("Unlearn", "Rows", "NewHold", "Reason"):
        assert schemas[name]["additionalProperties"] is False
        for field, said in schemas[name]["properties"].items():
            for one in said.get("anyOf", [said]):
                if one.get("type") == "string" and "enum" not in one and "format" not in one:
                    assert "maxLength" in one, (name, field)
                if one.get("type") == "array":
                    assert "maxItems" in one, (name, field)
                if one.get("type") in ("number", "integer"):
                    assert {"minimum", "maximum"} <= one.keys(), (name, field)


def test_examples_are_valid(shared):
    described = shared.app.openapi()
    for name, schema in described["components"]["schemas"].items():
        for example in schema.get("examples", []):
            whole = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
            jsonschema_rs.Draft202012Validator(whole).validate(example)


def test_answers_are_as_described(server):
    described = server.app.openapi()

    def check(method, path, pattern, **options):
        answer = server(method, path, **options)
        responses = described["paths"][pattern][method.lower()]["responses"]
        assert str(answer.status_code) in responses, answer.text
        content = responses[str(answer.status_code)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        schema = content[kind]["schema"] | {"components": described["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(answer.json())
        return answer.json()

    body = check("POST", "/unlearn", "/unlearn", json={"sample_id": "s3", "regime": "gdpr"})
    check("GET", body["status_url"], "/requests/{request_id}")
    check("GET", "/requests", "/requests")
    check("POST", "/unlearn", "/unlearn", json={"sample_id": "no"})
    check("POST", "/unlearn", "/unlearn", json={"sample_id": 3})
    check("POST", "/unlearn", "/unlearn", json={"sample_id": "s3", "method": "certified"})
    check("GET", "/models", "/models")
    check("GET", "/models/wide/versions", "/models/{name}/versions")
    check("GET", "/datasets", "/datasets")
    row = {"x0": 0.1, "x1": 0.2, "x2": 0.3, "job": "cook"}
    check("POST", "/models/wide/predict", "/models/{name}/predict", json={"rows": [row]})
    check("POST", "/forecast", "/forecast", json={"subject": "p1"})
    check("POST", "/holds", "/holds", json={"name": "x", "subjects": ["p9"]})
    check("GET", "/holds", "/holds")
    check("GET", "/health/ready", "/health/ready")


def test_codes_of_described_problems_are_real(shared):
    for _, _, said in operations(shared):
        for status, response in said["responses"].items():
            if int(status) < 400:
                continue
            for code in response["description"].split("`")[1::2]:
                assert str(PAGES[code].status) == status
