#!/bin/ksh

daemon=@DAEMON@
daemon_user=@USER@

. /etc/rc.d/rc.subr

pexp="PM2 v.*: God Daemon .*"

manager() {
    su -m @USER@ -c "exec env PATH=@PATH@ PM2_HOME=@HOME@ @PROGRAM@ $*"
}

rc_start() {
    manager resurrect
}

rc_stop() {
    manager kill
}

rc_reload() {
    manager reload all
}

rc_cmd $1
