/*
 * snap_words.h: what the members of an answer say together, and what is kept of their texts.
 * Only snap.c enters.
 */
#ifndef PAYOUT_SNAP_WORDS_H
#define PAYOUT_SNAP_WORDS_H

#include "json_read.h"
#include "protocol.h"

/* A text of an answer that is kept, bounded; NULL: none. */
extern char *snap_kept_text(const Jsonb *json, const char *name);

/* What the bank says in words; NULL: nothing. */
extern char *snap_message(const Jsonb *json);

/*
 * Why the answer's members cannot all be true; NULL: they can. The class is that of its code; it becomes that of code and
 * status together. is_not_found: the code says that the bank knows no such transfer.
 */
extern const char *snap_contradiction(const BankOrder *order, const Jsonb *json, bool is_not_found,
									  SnapClass *class);

#endif /* PAYOUT_SNAP_WORDS_H */
