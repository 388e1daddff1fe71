pub(super) fn fault_point() {}
