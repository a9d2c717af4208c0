"""A consumer of a daemon's queue that never answers; run in the node: ``odd_consumer.py URL QUEUE``."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(sys.argv[2], auto_delete=True)
channel.queue_bind(sys.argv[2], "nova", sys.argv[2])
channel.basic_consume(sys.argv[2], lambda *_: None, auto_ack=True)
print("ready", flush=True)
channel.start_consuming()
