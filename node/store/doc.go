// Package store keeps the rows of the node in one SQLite file. It knows tables, keys and values; what stands in a value is
// the business of the package that encoded it.
//
// The contract with the committer (package node):
//
//   - There is one writer. It hands over a group of Writes, the rows of many turns in the order of the queue. Commit makes
//     them durable in one transaction with one sync of the disk, or returns an error.
//   - When Commit has returned nil, the group survives the death of the process and of the machine. Only then may anything
//     that the turns caused leave the node (BOLT 2 "Message Retransmission" presupposes a state that was not lost).
//   - An error of Commit is final. The group is then wholly on disk or wholly absent, and only opening the file again tells which;
//     the Store refuses every later Commit. The caller lets nothing out and ends the process: restart is the recovery.
//   - Load, Range and Get read what is committed, from connections of their own; they neither wait for Commit nor make it wait.
//
// What is done against the disk: WAL with synchronous=FULL (a commit is one fsync of the log; on systems that know it, a full
// barrier), a CRC-32C beside every row over table, key and value, a structural check when the file is opened, and refusal instead
// of repair when something is wrong. A file belongs to one process (Open takes a lock beside it) and to one node on one
// network (Bind).
package store
