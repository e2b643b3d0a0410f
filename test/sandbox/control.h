/*
 * control.h: the operator's end of the sandbox, on a port of its own so that it answers while the bank is down.
 * Only main() enters.
 */
#ifndef SANDBOX_CONTROL_H
#define SANDBOX_CONTROL_H

extern void control_start(int *port);
extern void control_stop(void);

#endif
