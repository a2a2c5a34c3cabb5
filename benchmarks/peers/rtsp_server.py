"""An RTSP server on loopback, 25 frames per second, each with its number in sixteen black or white bars.

    /usr/bin/python3 rtsp_server.py PORT

Prints one line when it serves. Runs on the system's Python: GStreamer's binding is none of pip's.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

WIDTH, HEIGHT, RATE, BITS = 320, 240, 25, 16
LAUNCH = (
    f"( appsrc name=feed is-live=true format=time do-timestamp=true "
    f"caps=video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate={RATE}/1 "
    "! videoconvert ! video/x-raw,format=I420 ! jpegenc quality=90 ! rtpjpegpay name=pay0 )"
)


class Factory(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]
    """Feeds every new client's pipeline from a timer: the numbers go on while nobody watches."""

    def __init__(self) -> None:
        super().__init__()
        self.set_launch(LAUNCH)
        self._number = 0
        self._feeds: list[Gst.Element] = []
        GLib.timeout_add(1000 // RATE, self._tick)

    def serve(self, media: GstRtspServer.RTSPMedia) -> None:
        """Feeds one more client, until it leaves."""
        feed = media.get_element().get_by_name("feed")
        self._feeds.append(feed)
        media.connect("unprepared", lambda media: self._feeds.remove(feed))

    def _tick(self) -> bool:
        self._number += 1
        if self._feeds:
            row = b"".join((b"\xf0" if self._number >> bit & 1 else b"\x10") * 20 for bit in range(BITS))
            for feed in self._feeds:
                feed.emit("push-buffer", Gst.Buffer.new_wrapped(row * HEIGHT))
        return True


def main(port: str) -> None:
    Gst.init(None)
    server, factory = GstRtspServer.RTSPServer(), Factory()
    factory.connect("media-configure", lambda factory, media: factory.serve(media))
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.get_mount_points().add_factory("/web", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is in use")
    print("serving", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1])
