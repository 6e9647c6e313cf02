/* SPDX-License-Identifier: MIT
 * What 'evenkeel doctor' finds out about a model: diagnosis.c measures and judges, doctor.c tells. */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "cli.h"

/* A batch norm's moving statistics against the exact ones, and its gamma. What does not matter to it (the mean where
 * it divides by the deviation alone, the deviation where it takes out the mean alone) is NaN. */
typedef struct doctor_norm {
    int layer, channels;
    double drift; /* greatest |moving - exact mean|, in the exact deviation of the channel */
    int drift_channel;
    double narrow, wide; /* least and greatest moving deviation / exact one, eps in both */
    double gamma;        /* least |gamma|; NaN without */
    bool tracked;        /* it has moving statistics */
} doctor_norm;

/* What a layer's channels do over the samples. */
typedef struct doctor_output {
    int layer, channels;
    double flat;                /* share of values where the activation is flat; NaN of other layers */
    int dead, saturated, still; /* channels: a relu that is never on; others that are nearly always flat; one value */
    int broken;                 /* channels with values that are not finite */
} doctor_output;

/* In the order in which they matter. */
typedef enum doctor_kind {
    DOCTOR_BROKEN,
    DOCTOR_ACCURACY, /* exact statistics are better */
    DOCTOR_WORSE,    /* they are worse */
    DOCTOR_DRIFT,
    DOCTOR_CONSTANT,
    DOCTOR_DEAD,
    DOCTOR_SATURATED,
    DOCTOR_STILL,
    DOCTOR_GAMMA,
    DOCTOR_KINDS
} doctor_kind;

typedef struct doctor_finding {
    doctor_kind kind;
    int layer; /* -1: the whole net */
    char text[200];
} doctor_finding;

/* All of it. Opened by the command: net, exact, train; test may be NULL. */
typedef struct doctor {
    ek_net *net, *exact; /* as it is; with exact statistics */
    ek_dataset *train, *test;
    bool share;      /* test is a share of the training images that was set aside */
    int64_t samples; /* of train, to be measured */
    int threads;
    int64_t measured;
    bool inexact;                  /* there are no exact statistics, since something is not finite */
    ek_metrics moving, calibrated; /* on test, on train without; NaN where outputs are not finite, or inexact */
    double error;                  /* standard error of an accuracy there; NaN likewise */
    doctor_norm *norms;
    int norm_count;
    doctor_output *outputs;
    int output_count;
    doctor_finding *findings; /* by kind, then layer */
    int finding_count, finding_capacity;
    bool failed; /* out of memory */
} doctor;

/* Fills in the rest. EK_OK, or a status with its message. */
ek_status doctor_examine(doctor *d);
void doctor_free(doctor *d); /* nets and data sets too */

const char *doctor_kind_name(doctor_kind kind); /* "drift" */
const char *doctor_advice(doctor_kind kind);    /* what to do, in words */

#endif
