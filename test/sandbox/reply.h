/*
 * reply.h: the last step of a request: its answer, or what a fault makes of it.
 * Only the server enters, without any lock held.
 */
#ifndef SANDBOX_REPLY_H
#define SANDBOX_REPLY_H

#include "request.h"

extern enum MHD_Result reply_give(Request *request);

#endif
