package main

import (
	"net"
	"os"
	"strings"
)

// notify tells systemd how we stand (sd_notify(3)): READY=1, STOPPING=1. Without NOTIFY_SOCKET it does nothing; nothing depends on it.
func notify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:] // the abstract namespace
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
