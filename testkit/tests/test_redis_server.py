import socket

from qicore_testkit.redis_server import RedisServer, redis_cluster, redis_sentinel


def test_a_server_keeps_its_port_over_stop_and_kill_and_forgets_its_data() -> None:
    with RedisServer() as server:
        port = server.port
        assert server.call("SET", "key", "value") == "OK"
        server.restart()
        assert server.call("GET", "key") == "(nil)"
        server.kill()
        server.start()
        assert server.port == port
        assert server.socket_path.exists()
    assert not server.directory.exists()


def test_a_stalled_server_accepts_and_does_not_answer_until_it_goes_on() -> None:
    with RedisServer() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.settimeout(0.2)
            server.pause()
            connection.sendall(b"PING\r\n")
            try:
                answer = connection.recv(64)
            except TimeoutError:
                answer = b"none"
            server.resume()
            assert answer == b"none"
            connection.settimeout(30)
            assert connection.recv(64) == b"+PONG\r\n"
        assert server.calls("ping") == 2


def test_a_password_is_asked_for() -> None:
    with RedisServer(password="open sesame") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET key\r\n")
            assert connection.recv(64).startswith(b"-NOAUTH")
        assert server.call("PING") == "PONG"


def test_the_sentinels_name_the_primary() -> None:
    with redis_sentinel("main") as servers:
        assert servers.named() == {servers.primary.port}
        assert "role:slave" in servers.replica.call("INFO", "replication")
        servers.sentinels[0].kill()
        assert servers.named() == {servers.primary.port}


def test_a_cluster_covers_all_slots() -> None:
    with redis_cluster() as nodes:
        assert len(nodes) == 3
        assert all("cluster_slots_ok:16384" in node.call("CLUSTER", "INFO") for node in nodes)
