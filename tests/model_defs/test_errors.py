from model_defs.errors import DetectionError, ErrorCode


def test_every_code_has_an_http_error_status():
    assert {code: code.status for code in ErrorCode if not 400 <= code.status < 600} == {}


def test_the_error_form_of_the_contract():
    refusal = DetectionError(ErrorCode.TOO_LONG, "the clip lasts 9 s; the limit is 5 s")
    assert refusal.to_dict() == {
        "error": {"code": "too_long", "message": "the clip lasts 9 s; the limit is 5 s", "status": 422}
    }
    assert str(refusal) == refusal.message
