"""The real server against clients that are idle, slow, broken or lying, and who may ask at all."""

import contextlib
import json
import logging
import socket
import threading
import time

import pytest
from starlette.testclient import TestClient

from dpl_jax.serve.app import make_app
from dpl_jax.serve.bounded import Patience
from dpl_jax.serve.headers import HEADERS
from dpl_jax.serve.server import listen, server

LONG = 300  # seconds: for what has to come, however busy the machine is
NEVER = Patience(headers=LONG, body=LONG, reading=LONG, idle=LONG)
POST = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
ORIGIN = "http://127.0.0.1"


@contextlib.contextmanager
def running(classifier, patience, **limits):
    """The port of a server in a thread; it ends with the block."""
    app = make_app(classifier, "run", hosts=["127.0.0.1"], max_upload_mb=1.0, **limits)
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        serving = server(app, patience)
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield port
        finally:
            serving.should_exit = True
            thread.join(LONG)
    assert not thread.is_alive()


def connect(port, sent=b""):
    client = socket.create_connection(("127.0.0.1", port), timeout=LONG)
    client.sendall(sent)
    return client


def upload(body):
    return POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def rest(client):
    """All that the server says until it closes: status, headers, body; None for nothing."""
    said = b""
    with client, contextlib.suppress(ConnectionError):
        while part := client.recv(1 << 16):
            said += part
    if not said:
        return None
    head, _, body = said.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


def bad_clients(port, png):
    """200 clients of every bad kind, and those among them that say a byte now and then."""
    kinds = [
        b"",
        b"G",
        POST,
        POST + b"Content-Length: 1000\r\n\r\n",
        POST + b"Content-Length: 1000\r\n\r\n" + png[:20],
        POST + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n",
        upload(png)[:-1],
        upload(png)[:-1],
        b"\x16\x03\x01 no HTTP\r\n\r\n",
        POST + b"Content-Length: 9999999999\r\n\r\n",
    ]
    clients = []
    for number in range(200):
        clients.append(client := connect(port))
        with contextlib.suppress(OSError):  # it may have made room already
            client.sendall(kinds[number % 10])
            if number % 10 == 6:  # half-closed
                client.shutdown(socket.SHUT_WR)
            if number % 10 == 7:  # aborted
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()
    return clients


def drip(clients, stop):
    while not stop.wait(0.05):
        for client in clients[1::10] + clients[2::10] + clients[4::10]:
            with contextlib.suppress(OSError):
                client.send(b"x")


def test_200_bad_clients_do_not_keep_a_good_one_waiting_for_ever(classifier, png, caplog):
    patience = Patience(headers=LONG, body=LONG, reading=LONG, idle=LONG, connections=64)
    with running(classifier, patience) as port:
        clients, stop = bad_clients(port, png), threading.Event()
        dripping = threading.Thread(target=drip, args=(clients, stop))
        dripping.start()
        try:
            for _ in range(3):
                status, _, body = rest(connect(port, upload(png)))
                assert status == 200 and len(json.loads(body)["classes"]) == 10
        finally:
            stop.set()
            dripping.join()
            for client in clients:
                client.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"GET / HT", 408),
        (POST + b"Content-Length: 9\r\n\r\nslow", 408),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n9\r\nslow", 408),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200),
    ],
)
def test_who_takes_too_long_is_told_and_closed(classifier, sent, status, caplog):
    with running(classifier, Patience(headers=1.0, body=1.0, idle=1)) as port:
        answer = rest(connect(port, sent))
    assert (answer and answer[0]) == status
    if answer:
        for name, value in HEADERS.items():
            assert answer[1][name] == value.lower()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (POST + b"Content-Length: 9\r\n\r\nfour", 400, b"shorter than its Content-Length"),
        (POST + b"Content-Length: -4\r\n\r\nfour", 400, b"Invalid HTTP"),
        (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nfour", 400, b"Invalid HTTP"),
        (POST + b"\r\n", 411, b"Content-Length"),
        (POST + b"Content-Length: 1048577\r\n\r\n", 413, b"larger than 1 MB"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nfo", 400, b"shorter"),
        (b"GET / HTT", 400, b"not whole"),
        (b"no HTTP\r\n\r\n", 400, b"Invalid HTTP"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"Invalid HTTP"),
        (b"GET / HTTP/1.1\r\nHost: evil.org\r\n\r\n", 400, b"Invalid host"),
    ],
)
def test_what_is_not_whole_or_lies_is_refused_at_once(classifier, sent, status, message):
    with running(classifier, Patience(headers=LONG, body=LONG, idle=1)) as port:
        client = connect(port, sent)
        client.shutdown(socket.SHUT_WR)
        answer = rest(client)
    assert answer is not None and answer[0] == status and message in answer[2]
    for name, value in HEADERS.items():
        assert answer[1][name] == value.lower()


def test_a_client_that_has_said_all_is_answered(classifier, png):
    with running(classifier, NEVER) as port:
        client = connect(port, upload(png))
        client.shutdown(socket.SHUT_WR)
        status, _, body = rest(client)
    assert status == 200 and len(json.loads(body)["classes"]) == 10


def test_chunks_are_bounded_and_understood(classifier, png):
    def chunks():
        yield png

    def endless():
        for _ in range(20):
            yield b"x" * 2**16

    kind = {"content-type": "image/png"}
    client = TestClient(app(classifier), base_url=ORIGIN)
    assert client.post("/predict", content=chunks(), headers=kind).status_code == 200
    assert client.post("/predict", content=endless(), headers=kind).status_code == 413


def test_unfinished_uploads_make_room_for_one_that_ends(classifier, png):
    big = 700 * 1024
    with running(classifier, NEVER, most_pending=2**20) as port:
        head = POST + b"Content-Length: 1000000\r\nConnection: close\r\n\r\n"
        first = connect(port, head + b"x" * big)
        second = connect(port, head + b"x" * big)
        found = threading.Event(), []
        for client in (first, second):
            client.settimeout(0.1)
        deadline = time.monotonic() + LONG
        while not found[1] and time.monotonic() < deadline:
            for client in (first, second):
                with contextlib.suppress(TimeoutError):
                    found[1].append((client, client.recv(1 << 16)))
        assert len(found[1]) == 1
        ((refused, said),) = found[1]
        assert said.startswith(b"HTTP/1.1 503") and b"retry-after: " in said
        assert rest(connect(port, upload(png)))[0] == 200
        refused.close()
        first.close()
        second.close()


def test_more_waiting_files_than_there_is_room_for_are_refused(classifier, png):
    client = TestClient(app(classifier, most_waiting=0), base_url=ORIGIN)
    answer = client.post("/predict", content=png, headers={"content-type": "image/png"})
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert "waiting" in answer.json()["error"]


def app(classifier, **named):
    return make_app(classifier, "run", hosts=["127.0.0.1"], max_upload_mb=1.0, **named)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, 200),
        ({"origin": ORIGIN}, 200),
        ({"origin": ORIGIN, "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://evil.org"}, 403),
        ({"origin": "http://127.0.0.1:9"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[evil"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_pages_of_other_sites_may_not_ask(classifier, png, said, status):
    client = TestClient(app(classifier), base_url=ORIGIN)
    headers = {"content-type": "image/png", **said}
    assert client.post("/predict", content=png, headers=headers).status_code == status


def test_with_a_token_nothing_is_said_without_it(classifier, png):
    guarded = app(classifier, token="s3cret")
    kind = {"content-type": "image/png"}
    stranger = TestClient(guarded, base_url=ORIGIN)
    for path in ("/", "/?token=", "/?token=s3cre", "/?token=é", "/page.js", "/nothing"):
        answer = stranger.get(path)
        assert answer.status_code == 403 and "s3cret" not in answer.text
        assert answer.headers["referrer-policy"] == "no-referrer"
    wrong = {**kind, "authorization": "Bearer other", "cookie": "dpl_token=other"}
    assert stranger.post("/predict", content=png, headers=wrong).status_code == 403
    bearer = {**kind, "authorization": "Bearer s3cret"}
    assert stranger.post("/predict", content=png, headers=bearer).status_code == 200

    browser = TestClient(guarded, base_url=ORIGIN)
    first = browser.get("/?token=s3cret", follow_redirects=False)
    assert first.status_code == 303 and first.headers["location"] == "/"
    assert {"HttpOnly", "SameSite=strict"} <= set(first.headers["set-cookie"].split("; "))
    assert browser.get("/").status_code == 200
    assert browser.post("/predict", content=png, headers=kind).status_code == 200


def test_an_error_of_our_own_has_the_headers_too(classifier, png, monkeypatch):
    monkeypatch.setattr("dpl_jax.serve.app.answer", lambda *_: 1 / 0)
    client = TestClient(app(classifier), base_url=ORIGIN, raise_server_exceptions=False)
    answer = client.post("/predict", content=png, headers={"content-type": "image/png"})
    assert answer.status_code == 500
    assert HEADERS.items() <= dict(answer.headers).items()
