#!/bin/sh
# PROVIDE: @NAME@
# REQUIRE: LOGIN NETWORKING
# KEYWORD: shutdown

. /etc/rc.subr

name="@NAME@"
rcvar="@NAME@_enable"
start_cmd="manager resurrect"
stop_cmd="manager kill"
reload_cmd="manager reload all"
status_cmd="manager list"
extra_commands="reload status"

manager() {
    su -m @USER@ -c "exec env PATH=@PATH@ PM2_HOME=@HOME@ @PROGRAM@ $*"
}

load_rc_config "$name"
run_rc_command "$1"
