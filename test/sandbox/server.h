/*
 * server.h: the listener of the bank and of the merchant end, which can go down and come back on the same port.
 * main() and the control end enter, without any lock held.
 */
#ifndef SANDBOX_SERVER_H
#define SANDBOX_SERVER_H

#include <stdbool.h>

/* A bound, reusable loopback socket; port 0 = any, the port taken is stored. Ends the process on failure. */
extern int server_socket(int *port, bool listening);

extern void server_init(int *port);
extern void server_up(void);
/* Drops every connection, also held ones; connections are refused until server_up(). */
extern void server_down(void);

#endif
