/*
 * snap_subject.h: what an answer speaks of.
 * Only snap.c enters.
 */
#ifndef PAYOUT_SNAP_SUBJECT_H
#define PAYOUT_SNAP_SUBJECT_H

#include "json_read.h"
#include "protocol.h"

/* Which sending of the payout the answer to a status inquiry names. */
typedef enum SnapSending
{
	SNAP_SENDING_NONE,
	SNAP_SENDING_ASKED,
	SNAP_SENDING_OTHER /* one of this payout's all the same */
} SnapSending;

typedef struct SnapSubject
{
	SnapSending sending;
	bool names_ours; /* by what we made: reference or external id */
	bool is_named;	 /* so, or by the bank's own number as we know it */
} SnapSubject;

/* Whether the member is there, and a text that is not empty. */
extern bool snap_names(const Jsonb *json, const char *name);

/* The first member of the answer that names something else than the order; NULL: none does. */
extern const char *snap_misfit(const BankOrder *order, const Jsonb *json);

/* What the answer to a status inquiry, which has no misfit, speaks of. */
extern SnapSubject snap_subject(const BankOrder *order, const Jsonb *json);

#endif /* PAYOUT_SNAP_SUBJECT_H */
