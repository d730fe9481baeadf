cdef extern from "math.h" nogil:
    double cos(double)
    double exp(double)
    double fmod(double, double)
    double hypot(double, double)
    double sin(double)
    double sqrt(double)
