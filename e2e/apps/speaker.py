# Speaks on the IPC channel without Node: one JSON value a line, whatever the language.
import json, os, sys, time

channel = int(os.environ["NODE_CHANNEL_FD"])


def say(line):
    while line:
        line = line[os.write(channel, line) :]


say(b'{"type":"axm:action","data":{"action_name":"greet","arity":0}}\n')
say(b'{"type":"axm:monitor","data":{"Queue":{"value":3,"unit":"jobs"}}}\n{"type":"first","da')
time.sleep(0.05)
say(b'ta":{"half":"\xc3')
time.sleep(0.05)
say(b'\xbc"}}\n')
rest = b""
while True:
    got = os.read(channel, 65536)
    if not got:
        sys.exit(0)
    rest += got
    *lines, rest = rest.split(b"\n")
    for line in lines:
        message = json.loads(line)
        topic = message.get("topic") if isinstance(message, dict) else message
        if topic == "greet":
            # The original's `trigger` waits for ever on an answer that overtakes the daemon's own.
            time.sleep(0.2)
            say(b'{"type":"axm:reply","data":{"action_name":"greet","return":"hello from python"}}\n')
        if topic == "invalid":
            say(b'{"type":"invalid","data":{"text":"a\xffb"}}\n')
        if topic == "garbage":
            say(b"this is no JSON\n\n{\"type\":\n\x00\x01\xfe\n")
            say(b'{"type":"after","data":{"garbage":true}}\n')
        if topic == "endless":
            say(b'{"type":"endless","data":"')
            for _ in range(100):
                say(b"x" * 1048576)
            say(b'"}\n{"type":"after","data":{"endless":true}}\n')
